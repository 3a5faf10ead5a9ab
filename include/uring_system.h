/* SPDX-License-Identifier: MIT
 *
 * Helpers of all drivers: results as -errno, the monotonic clock.
 */
#ifndef URING_SYSTEM_H
#define URING_SYSTEM_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

static inline int uring_result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static inline int64_t uring_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
