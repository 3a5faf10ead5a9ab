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
 * code (uring_epoll.h; plain memory). This file is the same for both. An index is
 * published with a store-release after the entries that it covers, and read with a
 * load-acquire before them. Nothing else needs ordering, since one thread uses the ring
 * and SQPOLL is never set.
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
	/* The entries in [*ktail, sqe_tail) are handed out and not yet published. */
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
	/* The state of the epoll driver; NULL if the kernel serves the ring. */
	struct uring_epoll *epoll;
};

/* ---- submission ----------------------------------------------------------------- */

/* Entries handed out by io_uring_get_sqe() that the driver has not consumed. */
static inline unsigned io_uring_sq_ready(const struct io_uring *ring)
{
	/* Acquire: a slot is reused only after the driver has read it. */
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

/* Publish the entries handed out; returns how many wait for an enter. */
static inline unsigned io_uring_flush_sq(struct io_uring *ring)
{
	/* Release: the driver must see the entries before the tail that covers them. */
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

/* Pop one completion. The slot is freed before the caller acts on the copy, so that the
 * completions of entries that the caller prepares find the slot free. */
static inline bool uring_pop(struct io_uring *ring, struct io_uring_cqe *out)
{
	unsigned head = *ring->cq.khead;

	/* Acquire: the entry is read only after the tail that covers it. */
	if (head == __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE))
		return false;
	*out = ring->cq.cqes[head & ring->cq.ring_mask];
	/* Release: the driver may overwrite the slot once it sees the new head. */
	__atomic_store_n(ring->cq.khead, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Copy the completion `place` slots behind the next one without popping it. */
static inline void uring_peek(const struct io_uring *ring, unsigned place,
			      struct io_uring_cqe *out)
{
	*out = ring->cq.cqes[(*ring->cq.khead + place) & ring->cq.ring_mask];
}

/* The last completion of this request if it is in the queue, else NULL. */
static inline const struct io_uring_cqe *uring_last_cqe(const struct io_uring *ring,
							uint64_t user_data)
{
	unsigned head = *ring->cq.khead;
	/* Acquire: the entries are read only after the tail that covers them. */
	unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
	const struct io_uring_cqe *cqe;

	for (; head != tail; head++) {
		cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
		if (cqe->user_data == user_data && !(cqe->flags & IORING_CQE_F_MORE))
			return cqe;
	}
	return NULL;
}

/* Would an enter find work? True for completions to reap, deferred work that only an
 * enter runs (TASKRUN), completions outside a full queue (CQ_OVERFLOW), and entries not
 * yet submitted. It costs a few loads and no system call; the model is QEMU's
 * fdmon_io_uring_need_wait(). The completion queue alone would miss the completions
 * that DEFER_TASKRUN and COOP_TASKRUN hold back. On epoll, TASKRUN is set as long as
 * any request is armed. */
static inline bool uring_need_wait(const struct io_uring *ring)
{
	const unsigned held = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	return io_uring_cq_ready(ring) ||
	       (__atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) & held) ||
	       io_uring_sq_ready(ring);
}

#endif
