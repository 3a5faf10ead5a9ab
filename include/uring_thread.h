/* SPDX-License-Identifier: MIT
 *
 * A number for each thread of a process, which no other thread has or had.
 *
 * Thread ids of pthread and kernel are unsuitable: a new thread may get the id of an
 * ended one, but must not use its rings.
 */
#ifndef URING_THREAD_H
#define URING_THREAD_H

#include <stdatomic.h>

/* One variable for each file that includes this. Only ring.pyx asks for numbers, else a
 * thread would have several. */
static inline unsigned long uring_thread_token(void)
{
	static _Thread_local unsigned long token;
	static atomic_ulong count;

	/* Relaxed: only the number matters, and two threads never get the same one. */
	if (!token)
		token = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1;
	return token;
}

#endif
