/* SPDX-License-Identifier: MIT
 *
 * Busy polling: looks at a ring without sleeping until a condition ends the spin.
 */
#ifndef URING_SPIN_H
#define URING_SPIN_H

#include <poll.h>

#include "uring.h"
#include "uring_sleep.h"

/* Looks per reading of the clock: one reading costs about as much as these looks. */
#define URING_LOOKS_PER_CLOCK 8

/* A number that another thread may change at any time. */
static inline int64_t uring_read_once(const int64_t *number)
{
	return __atomic_load_n(number, __ATOMIC_RELAXED);
}

/* Give the core to its other hardware thread for some cycles. */
static inline void uring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Would an enter find work? On an epoll ring only a system call can tell whether a
 * descriptor is ready; poll(2) consumes no event of the set, not even an edge-triggered
 * one. */
static inline bool uring_spin_look(const struct io_uring *ring)
{
	struct pollfd set = { .fd = ring->ring_fd, .events = POLLIN, .revents = 0 };

	if (!ring->epoll)
		return uring_need_wait(ring);
	return io_uring_cq_ready(ring) || io_uring_cq_has_overflow(ring) ||
	       io_uring_sq_ready(ring) || poll(&set, 1, 0) != 0;
}

/* Spin until an enter would find work or another thread changes the mark from SPINNING
 * (true in both cases), or the monotonic clock reaches `until_ns` (false). On io_uring
 * a spin makes no system call; on epoll each look is one poll(2). */
static inline bool uring_spin(const struct io_uring *ring,
			      const struct uring_sleep *sleep, int64_t until_ns)
{
	do {
		for (int i = 0; i < URING_LOOKS_PER_CLOCK; i++) {
			if (uring_spin_look(ring))
				return true;
			if (uring_mark(sleep) != URING_SPINNING)
				return true;
			uring_relax();
		}
	} while (uring_now_ns() < until_ns);
	return false;
}

#endif
