/* SPDX-License-Identifier: MIT
 *
 * The busy poll: looks at a ring in user space until there is a reason to stop.
 */
#ifndef URING_SPIN_H
#define URING_SPIN_H

#include <time.h>

#include "uring.h"

/* So many looks share one reading of the clock, which costs as much as all of them. */
#define URING_LOOKS_PER_CLOCK 8

static inline int64_t uring_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Leaves the core to its other hardware thread for some cycles. */
static inline void uring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Look until an enter would find work or another thread changes `word` from `value`
 * (both: true), or the monotonic clock reaches `until_ns` (false). No system call. */
static inline bool uring_spin(const struct io_uring *ring, const volatile int *word,
			      int value, int64_t until_ns)
{
	do {
		for (int i = 0; i < URING_LOOKS_PER_CLOCK; i++) {
			if (uring_need_wait(ring))
				return true;
			/* Relaxed: who changes it hands nothing else over. */
			if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
				return true;
			uring_relax();
		}
	} while (uring_now_ns() < until_ns);
	return false;
}

#endif
