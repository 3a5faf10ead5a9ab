/* SPDX-License-Identifier: MIT
 *
 * The two queues of a ring: taking entries, popping completions.
 *
 * Each queue has one writer per index:
 *
 *   submission queue   we write the tail, the driver the head
 *   completion queue   the driver writes the tail, we write the head
 *
 * The driver is the kernel (io_uring; the queues are memory shared with it) or our own
 * code (uring_epoll.h; plain memory). Everything in this file is the same for both. An
 * index is published with a store-release after the entries that it covers, and read
 * with a load-acquire before them; nothing else needs ordering, since the ring is used
 * by one thread (IORING_SETUP_SINGLE_ISSUER) and never with SQPOLL.
 */
#ifndef URING_QUEUES_H
#define URING_QUEUES_H

#include <stdbool.h>
#include <stddef.h>

#include "uring_abi.h"

struct uring_epoll;

struct io_uring_sq {
	unsigned *khead;
	unsigned *ktail;
	unsigned *kflags;
	unsigned ring_mask;
	unsigned ring_entries;
	struct io_uring_sqe *sqes;
	/* Entries handed out, not yet published: [*ktail, sqe_tail). */
	unsigned sqe_tail;
};

struct io_uring_cq {
	unsigned *khead;
	unsigned *ktail;
	unsigned ring_mask;
	unsigned ring_entries;
	struct io_uring_cqe *cqes;
};

struct io_uring {
	struct io_uring_sq sq;
	struct io_uring_cq cq;
	void *ring_ptr;
	size_t ring_sz;
	size_t sqes_sz;
	unsigned flags;
	unsigned features;
	int ring_fd;
	int enter_ring_fd;
	bool registered_ring;
	/* The state of the epoll driver; NULL: the kernel serves the ring. */
	struct uring_epoll *epoll;
};

/* ---- submission ----------------------------------------------------------------- */

/* Entries handed out by io_uring_get_sqe() that the kernel has not consumed. */
static inline unsigned io_uring_sq_ready(const struct io_uring *ring)
{
	/* Acquire: a slot is written again only after the kernel has read it. */
	return ring->sq.sqe_tail - __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);
}

/* The next free entry, or NULL when the queue is full: enter, then ask again. */
static inline struct io_uring_sqe *io_uring_get_sqe(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;

	if (io_uring_sq_ready(ring) == sq->ring_entries)
		return NULL;
	return &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
}

/* Publish what was handed out; returns how many entries wait for an enter. */
static inline unsigned io_uring_flush_sq(struct io_uring *ring)
{
	/* Release: the kernel must see the entries before the tail that covers them. */
	__atomic_store_n(ring->sq.ktail, ring->sq.sqe_tail, __ATOMIC_RELEASE);
	return io_uring_sq_ready(ring);
}

/* ---- completion ----------------------------------------------------------------- */

static inline unsigned io_uring_cq_ready(const struct io_uring *ring)
{
	return __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE) - *ring->cq.khead;
}

/* Completions wait outside a full queue; an enter with GETEVENTS moves them in. */
static inline bool io_uring_cq_has_overflow(const struct io_uring *ring)
{
	return __atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) &
	       IORING_SQ_CQ_OVERFLOW;
}

/* Pop one completion. The slot is freed before the caller acts on the copy, so that
 * what the caller then prepares cannot meet a queue that looks fuller than it is. */
static inline bool uring_pop(struct io_uring *ring, struct io_uring_cqe *out)
{
	unsigned head = *ring->cq.khead;

	/* Acquire: the entry is read only after the tail that covers it. */
	if (head == __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE))
		return false;
	*out = ring->cq.cqes[head & ring->cq.ring_mask];
	/* Release: the kernel may overwrite the slot once it sees the new head. */
	__atomic_store_n(ring->cq.khead, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Is the last completion of this request among those that wait to be popped? */
static inline bool uring_has_ended(const struct io_uring *ring, uint64_t user_data)
{
	unsigned head = *ring->cq.khead;
	/* Acquire: the entries are read only after the tail that covers them. */
	unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
	const struct io_uring_cqe *cqe;

	for (; head != tail; head++) {
		cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
		if (cqe->user_data == user_data && !(cqe->flags & IORING_CQE_F_MORE))
			return true;
	}
	return false;
}

/* Would an enter find work? Completions to reap, deferred work that only an enter
 * runs (TASKRUN), completions parked outside a full queue (OVERFLOW), or entries not
 * yet submitted. Costs two loads; QEMU's fdmon_io_uring_need_wait() is the model.
 * A look at the queue alone would miss all that DEFER_TASKRUN and COOP_TASKRUN hold
 * back. */
static inline bool uring_need_wait(const struct io_uring *ring)
{
	const unsigned held = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	return io_uring_cq_ready(ring) ||
	       (__atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) & held) ||
	       io_uring_sq_ready(ring);
}

#endif
