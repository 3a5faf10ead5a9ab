/* SPDX-License-Identifier: MIT
 *
 * A number for each thread of a process, which no other thread has or had.
 *
 * Thread ids of pthread and kernel are unsuitable: a new thread may get the id of an
 * ended one, but must not use its rings.
 */
#ifndef URING_THREAD_H
#define URING_THREAD_H

#include <features.h>
#include <stdatomic.h>

/* glibc allocates a loaded library's variables for each thread on their first use, and
 * aborts the process if there is no memory. Initial-exec variables are part of the
 * thread's own block; the reserve of that for libraries loaded later is small, but this
 * is one word. musl refuses the model in such libraries; it allocates at dlopen(). */
#ifdef __GLIBC__
#define URING_THREAD_LOCAL __attribute__((tls_model("initial-exec"))) _Thread_local
#else
#define URING_THREAD_LOCAL _Thread_local
#endif

/* One variable for each file that includes this. Only ring.pyx asks for numbers, else a
 * thread would have several. */
static inline unsigned long uring_thread_token(void)
{
	static URING_THREAD_LOCAL unsigned long token;
	static atomic_ulong count;

	/* Relaxed: only the number matters, and two threads never get the same one. */
	if (!token)
		token = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1;
	return token;
}

#endif
