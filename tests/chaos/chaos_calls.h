/* SPDX-License-Identifier: MIT
 *
 * What chaos.c and chaos_calls.c share: the source, and the kind of a descriptor.
 */
#ifndef URING_CHAOS_CALLS_H
#define URING_CHAOS_CALLS_H

#include <errno.h>
#include <stdlib.h>

#include "chaos_source.h"

/* One for the process. */
extern struct uring_chaos_source uring_chaos;
/* The descriptor is served by an edge, which is not reported again: EAGAIN is legal
 * only where the socket is empty. */
extern _Thread_local bool chaos_on_edge;

static inline bool chaos_is_socket(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

static inline bool chaos_is_pipe(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

#endif
