/* SPDX-License-Identifier: MIT
 *
 * The sleep handshake: how other threads end the sleep of a loop, and none is missed.
 *
 * The loop's thread           another thread
 *   mark := ASLEEP              push into the queue
 *   fence                       fence
 *   look at the queue           look at the mark
 *   sleep, if it is empty       wake, if it is not AWAKE
 *
 * Of two seq_cst fences one comes first in their total order. If the loop's is first,
 * the other thread sees the mark; else the loop sees what was pushed. Without the
 * fences both may read old values (a store waits in its processor's store buffer while
 * the load after it is done), and the loop would sleep on a queue that is not empty.
 *
 * With a GIL the fences of the other thread are left out: it holds the GIL from the
 * push to the look, and the loop holds it from the mark until it sleeps or spins, so
 * one of the two sequences has ended, and is visible, before the other begins.
 *
 * A change of the mark by another thread is an exchange, so one thread finds ASLEEP
 * and writes to the eventfd. Whoever finds AWAKE afterwards relies on that write.
 */
#ifndef URING_SLEEP_H
#define URING_SLEEP_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Why a thread that pushes has to end the loop's wait: not at all, by the mark alone,
 * by a write to the eventfd. */
enum uring_mark {
	URING_AWAKE,
	URING_SPINNING,
	URING_ASLEEP,
};

struct uring_sleep {
	_Atomic int mark;
	/* The eventfd that ends the sleep, or -1. */
	_Atomic int fd;
	/* How many threads are using `fd` now. */
	_Atomic unsigned writers;
};

/* The fence of a thread that pushes. */
static inline void uring_pushed(void)
{
#ifdef Py_GIL_DISABLED
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline int uring_mark(const struct uring_sleep *sleep)
{
	/* Relaxed: the order comes from the fence before it, and in the loop's own
	 * thread there is nothing to order. */
	return atomic_load_explicit(&sleep->mark, memory_order_relaxed);
}

/* In the loop's thread, which has to look at its queue once more afterwards. */
static inline void uring_mark_asleep(struct uring_sleep *sleep)
{
	atomic_store_explicit(&sleep->mark, URING_ASLEEP, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void uring_mark_awake(struct uring_sleep *sleep)
{
	/* Relaxed: a thread that still reads ASLEEP writes to the eventfd in vain. */
	atomic_store_explicit(&sleep->mark, URING_AWAKE, memory_order_relaxed);
}

/* In the loop's thread: from ASLEEP to SPINNING, or back; false if another thread has
 * set AWAKE in between, which an assignment would undo. */
static inline bool uring_change_mark(struct uring_sleep *sleep, int from, int to)
{
	return atomic_compare_exchange_strong(&sleep->mark, &from, to);
}

/* Write to the eventfd. The count of writers goes up before `fd` is read, both seq_cst:
 * either uring_set_fd() sees the writer and waits, or the writer sees the new `fd`. */
static inline void uring_write_fd(struct uring_sleep *sleep)
{
	const uint64_t one = 1;
	ssize_t written = 0;
	int fd;

	atomic_fetch_add(&sleep->writers, 1);
	fd = atomic_load(&sleep->fd);
	if (fd >= 0)
		written = write(fd, &one, sizeof(one));
	/* It can only fail if the count is at its end: then the loop wakes as well. */
	(void)written;
	atomic_fetch_sub(&sleep->writers, 1);
}

/* Let a loop that waits run its queue. */
static inline void uring_wake(struct uring_sleep *sleep)
{
	if (atomic_exchange(&sleep->mark, URING_AWAKE) == URING_ASLEEP)
		uring_write_fd(sleep);
}

/* From now on wake-ups write to this descriptor, or to none (-1). On return no thread
 * uses the earlier one, which may be closed: its number may soon be that of another
 * file. */
static inline void uring_set_fd(struct uring_sleep *sleep, int fd)
{
	atomic_store(&sleep->fd, fd);
	while (atomic_load(&sleep->writers))
		sched_yield();
}

#endif
