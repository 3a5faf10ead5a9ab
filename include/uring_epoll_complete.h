/* SPDX-License-Identifier: MIT
 *
 * Completions of the epoll driver: posted to the queue, or kept while it is full.
 */
#ifndef URING_EPOLL_COMPLETE_H
#define URING_EPOLL_COMPLETE_H

#include "uring_epoll_state.h"

/* Has the queue room for a completion, with no older one waiting outside? */
static inline bool uring_epoll_has_room(const struct io_uring *ring)
{
	return io_uring_cq_ready(ring) < ring->cq.ring_entries &&
	       ring->epoll->overflow_first == ring->epoll->overflow_end;
}

/* Make sure that `count` completions can be kept outside the queue. -ENOMEM changes
 * nothing. */
static inline int uring_epoll_reserve(struct uring_epoll *ep, unsigned count)
{
	unsigned kept = ep->overflow_end - ep->overflow_first;
	unsigned room = ep->overflow_room ? ep->overflow_room : 16;
	void *more;

	if (ep->overflow_room - ep->overflow_end >= count)
		return 0;
	/* Move only if at most half is in use afterwards: moves stay rare. */
	if (kept + count <= ep->overflow_room / 2) {
		memmove(ep->overflow, ep->overflow + ep->overflow_first,
			kept * sizeof(*ep->overflow));
		ep->overflow_first = 0;
		ep->overflow_end = kept;
		return 0;
	}
	while (room - ep->overflow_end < count)
		room *= 2;
	more = realloc(ep->overflow, room * sizeof(*ep->overflow));
	if (!more)
		return -ENOMEM;
	ep->overflow = (struct io_uring_cqe *)more;
	ep->overflow_room = room;
	return 0;
}

static inline void uring_epoll_put(struct io_uring *ring,
				   const struct io_uring_cqe *cqe)
{
	unsigned tail = ring->epoll->cq_tail;

	ring->cq.cqes[tail & ring->cq.ring_mask] = *cqe;
	/* Release: as the kernel's; pairs with the acquire in uring_pop(). */
	__atomic_store_n(ring->cq.ktail, tail + 1, __ATOMIC_RELEASE);
}

/* Post a completion. If the queue may be full, call uring_epoll_reserve() first. */
static inline void uring_epoll_post(struct io_uring *ring, uint64_t user_data, int res,
				    uint32_t flags)
{
	struct uring_epoll *ep = ring->epoll;
	struct io_uring_cqe cqe;

	cqe.user_data = user_data;
	cqe.res = res;
	cqe.flags = flags;
	if (uring_epoll_has_room(ring)) {
		uring_epoll_put(ring, &cqe);
		return;
	}
	ep->overflow[ep->overflow_end++] = cqe;
	ep->sq_flags |= IORING_SQ_CQ_OVERFLOW;
}

/* Post the last completion of an entry with these flags; IOSQE_CQE_SKIP_SUCCESS leaves
 * out a success. */
static inline void uring_epoll_answer(struct io_uring *ring, unsigned sqe_flags,
				      uint64_t user_data, int res)
{
	if (res < 0 || !(sqe_flags & IOSQE_CQE_SKIP_SUCCESS))
		uring_epoll_post(ring, user_data, res, 0);
}

/* Move as many completions kept outside into the queue as it has room for. */
static inline void uring_epoll_flush_overflow(struct io_uring *ring)
{
	struct uring_epoll *ep = ring->epoll;

	while (ep->overflow_first != ep->overflow_end &&
	       io_uring_cq_ready(ring) < ring->cq.ring_entries)
		uring_epoll_put(ring, &ep->overflow[ep->overflow_first++]);
	if (ep->overflow_first == ep->overflow_end) {
		ep->overflow_first = ep->overflow_end = 0;
		ep->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
	}
}

#endif
