/* SPDX-License-Identifier: MIT
 *
 * Requests of the epoll driver: from the entry that makes one to its last completion.
 */
#ifndef URING_EPOLL_REQUESTS_H
#define URING_EPOLL_REQUESTS_H

#include "uring_epoll_receive.h"
#include "uring_epoll_set.h"
#include "uring_epoll_watch.h"
#include "uring_prep.h"

/* The greatest opcode that is known, which is what a probe ends with. */
#define URING_EPOLL_LAST_OP IORING_OP_RECV
/* An entry can have two: its own completion and that of the request it cancels. */
#define URING_EPOLL_ANSWERS_MOST 2

static inline bool uring_epoll_knows(unsigned opcode)
{
	return opcode == IORING_OP_NOP || opcode == IORING_OP_POLL_ADD ||
	       opcode == IORING_OP_RECVMSG || opcode == IORING_OP_ASYNC_CANCEL ||
	       opcode == IORING_OP_READ || opcode == IORING_OP_RECV;
}

/* ---- filling a request from an entry -------------------------------------------- */

static inline int uring_epoll_fill_poll(struct uring_epoll_request *request,
					const struct io_uring_sqe *sqe)
{
	/* The rest would ask for updates of polls. */
	if ((sqe->len & ~IORING_POLL_ADD_MULTI) || sqe->off || sqe->addr || sqe->ioprio)
		return -EINVAL;
	/* The lower half: the rest are epoll's own flags, such as EPOLLET. */
	request->events = uring_poll_mask(sqe->poll32_events) & 0xFFFF;
	request->multishot = sqe->len;
	return 0;
}

static inline int uring_epoll_fill_read(struct uring_epoll_request *request,
					const struct io_uring_sqe *sqe)
{
	if (sqe->ioprio || sqe->rw_flags)
		return -EINVAL;
	request->events = EPOLLIN;
	return 0;
}

/* Of a multishot receive's msghdr only three sizes matter, and only now. */
static inline int uring_epoll_fill_sizes(struct uring_epoll_request *request,
					 const struct msghdr *message)
{
	if (message->msg_iovlen > 1)
		return -EINVAL;
	if (message->msg_namelen > INT32_MAX || message->msg_controllen > INT32_MAX)
		return -EOVERFLOW;
	request->name_bytes = (uint32_t)message->msg_namelen;
	request->control_bytes = (uint32_t)message->msg_controllen;
	request->len = message->msg_iovlen ? (uint32_t)message->msg_iov->iov_len : 0;
	return 0;
}

static inline int uring_epoll_fill_receive(struct uring_epoll_request *request,
					   const struct io_uring_sqe *sqe)
{
	const bool provided = sqe->flags & IOSQE_BUFFER_SELECT;
	const bool message = sqe->opcode == IORING_OP_RECVMSG;

	request->multishot = sqe->ioprio & IORING_RECV_MULTISHOT;
	if (sqe->ioprio & ~IORING_RECV_MULTISHOT)
		return -EINVAL;
	/* Nothing here goes on receiving into the same memory. */
	if (sqe->msg_flags & MSG_WAITALL)
		return -EINVAL;
	if (request->multishot && !provided)
		return -EINVAL;
	/* A success that is skipped would take its buffer along. */
	if (provided && (sqe->flags & IOSQE_CQE_SKIP_SUCCESS))
		return -EINVAL;
	if (provided && message && !request->multishot)
		return -EINVAL;
	request->events = EPOLLIN;
	request->msg_flags = sqe->msg_flags;
	if (provided && message)
		return uring_epoll_fill_sizes(
			request, (const struct msghdr *)(uintptr_t)sqe->addr);
	return 0;
}

static inline int uring_epoll_fill(struct uring_epoll_request *request,
				   const struct io_uring_sqe *sqe)
{
	request->opcode = sqe->opcode;
	request->sqe_flags = sqe->flags;
	request->fd = sqe->fd;
	request->user_data = sqe->user_data;
	request->addr = sqe->addr;
	request->offset = sqe->off;
	request->len = sqe->len;
	request->buf_group = sqe->buf_group;
	if (sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_RECVMSG)
		return uring_epoll_fill_receive(request, sqe);
	if (sqe->flags & IOSQE_BUFFER_SELECT)
		return -EINVAL;
	if (sqe->opcode == IORING_OP_POLL_ADD)
		return uring_epoll_fill_poll(request, sqe);
	return uring_epoll_fill_read(request, sqe);
}

/* ---- taking an entry ------------------------------------------------------------ */

/* Register the descriptor and let the request wait; -errno leaves nothing behind. */
static inline int uring_epoll_arm(struct io_uring *ring,
				  struct uring_epoll_request *request)
{
	struct uring_epoll *ep = ring->epoll;
	struct uring_epoll_descriptor *d = NULL;
	int fd = request->fd, ret;

	if (request->opcode == IORING_OP_POLL_ADD && request->multishot)
		return uring_epoll_add_teller(ring, request);
	ret = uring_epoll_open_descriptor(ep, fd, &d);
	if (ret == 0)
		ret = uring_epoll_want(ring, d, fd, request->events);
	if (ret == 0)
		uring_epoll_wait_in(ep, &d->requests, request);
	return ret;
}

/* What a request for a file that is always ready (a regular file, a directory) comes
 * to. A poll of what such a file never reports is an error, as on io_uring. */
static inline int uring_epoll_at_once(const struct uring_epoll_request *request)
{
	const uint32_t always = EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
	void *memory = (void *)(uintptr_t)request->addr;

	if (request->opcode == IORING_OP_POLL_ADD)
		return request->events & always ? (int)(request->events & always) :
						  -EINVAL;
	if (request->opcode != IORING_OP_READ)
		return -ENOTSOCK;
	if (request->offset == UINT64_MAX)
		return uring_result(read(request->fd, memory, request->len));
	return uring_result(pread(request->fd, memory, request->len,
				  (off_t)request->offset));
}

/* POLL_ADD, READ, RECV, RECVMSG: wait, or answer at once. */
static inline void uring_epoll_begin(struct io_uring *ring,
				     const struct io_uring_sqe *sqe)
{
	struct uring_epoll *ep = ring->epoll;
	struct uring_epoll_request *request = uring_epoll_new_request(ep);
	int ret;

	if (!request) {
		uring_epoll_answer(ring, sqe->flags, sqe->user_data, -ENOMEM);
		return;
	}
	ret = uring_epoll_fill(request, sqe);
	if (ret == 0) {
		ret = uring_epoll_arm(ring, request);
		if (ret == 0)
			return;
		if (ret == -EPERM)
			ret = uring_epoll_at_once(request);
	}
	uring_epoll_free_request(ep, request);
	uring_epoll_answer(ring, sqe->flags, sqe->user_data, ret);
}

static inline int uring_epoll_cancel(struct io_uring *ring,
				     const struct io_uring_sqe *sqe)
{
	struct uring_epoll_request *request;
	uint64_t user_data = sqe->addr;
	unsigned flags;

	/* By user_data only. */
	if (sqe->cancel_flags || sqe->off || sqe->len || sqe->ioprio)
		return -EINVAL;
	request = uring_epoll_find(ring->epoll, user_data);
	if (!request)
		return -ENOENT;
	flags = request->sqe_flags;
	uring_epoll_end_request(ring->epoll, request);
	uring_epoll_answer(ring, flags, user_data, -ECANCELED);
	return 0;
}

static inline void uring_epoll_take(struct io_uring *ring,
				    const struct io_uring_sqe *sqe)
{
	int ret = -EINVAL;

	if (uring_epoll_knows(sqe->opcode) &&
	    !(sqe->flags & ~(IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS))) {
		if (sqe->opcode == IORING_OP_NOP) {
			ret = sqe->rw_flags ? -EINVAL : 0;
		} else if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
			ret = uring_epoll_cancel(ring, sqe);
		} else {
			uring_epoll_begin(ring, sqe);
			return;
		}
	}
	uring_epoll_answer(ring, sqe->flags, sqe->user_data, ret);
}

/* Take all published entries, in their order. Returns how many; -ENOMEM if there is no
 * memory for the answers of the first, which all stay in the queue then. */
static inline int uring_epoll_take_all(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;
	struct uring_epoll *ep = ring->epoll;
	unsigned first = ep->sq_head;

	while (ep->sq_head != ep->sq_tail) {
		if (uring_epoll_reserve(ep, URING_EPOLL_ANSWERS_MOST) < 0)
			return ep->sq_head != first ? (int)(ep->sq_head - first) :
						      -ENOMEM;
		uring_epoll_take(ring, &sq->sqes[ep->sq_head & sq->ring_mask]);
		/* Release: as the kernel's; from now on the slot may be filled. */
		__atomic_store_n(sq->khead, ep->sq_head + 1, __ATOMIC_RELEASE);
	}
	return (int)(ep->sq_head - first);
}

/* ---- carrying a request out ----------------------------------------------------- */

/* The descriptor has reported `events`, which the request wants. False if there was
 * nothing to take after all, and the request goes on waiting. */
static inline bool uring_epoll_carry_out(struct io_uring *ring,
					 struct uring_epoll_request *request,
					 uint32_t events)
{
	uint64_t user_data = request->user_data;
	unsigned flags = request->sqe_flags;
	int ret;

	if (flags & IOSQE_BUFFER_SELECT)
		return uring_epoll_receive_provided(ring, request);
	if (request->opcode == IORING_OP_POLL_ADD)
		ret = (int)events;
	else if (request->opcode == IORING_OP_READ)
		/* Of a blocking descriptor, too: it was readable just now, and who
		 * reads an eventfd or a pipe by the ring is its only reader. */
		ret = uring_result(read(request->fd, (void *)(uintptr_t)request->addr,
					request->len));
	else
		ret = uring_epoll_receive_single(request);
	if (uring_epoll_nothing_there(ret))
		return false;
	uring_epoll_end_request(ring->epoll, request);
	uring_epoll_answer(ring, flags, user_data, ret);
	return true;
}

/* Nobody wanted some of an event. What is armed again and again may just be between
 * two requests, so the first time is let pass while the thread stays awake. An error
 * or a hang-up would come back at once, whatever is asked for. */
static inline void uring_epoll_unwanted(struct io_uring *ring,
					struct uring_epoll_descriptor *d, int fd,
					uint32_t events, bool sleeps)
{
	if (!sleeps && !d->unwanted && !(events & URING_EPOLL_ALWAYS))
		d->unwanted = true;
	else
		uring_epoll_narrow(ring, d, fd);
}

/* What an event came to. */
struct uring_epoll_served {
	/* All that requests or the watch would have taken, reported or not. */
	uint32_t wanted;
	/* Something was carried out, or waits for room in the completion queue. */
	bool progress;
	/* A request found nothing to take. */
	bool nothing;
};

static inline void uring_epoll_serve_requests(struct io_uring *ring,
					      struct uring_epoll_descriptor *d,
					      int fd, uint32_t reported,
					      struct uring_epoll_served *served)
{
	struct uring_epoll_request *request, *next;
	bool taken = false;
	uint32_t events;

	for (request = d->requests.first; request; request = next) {
		/* Carrying it out frees at most this request. */
		next = request->next;
		events = request->events | URING_EPOLL_ALWAYS;
		served->wanted |= events;
		/* What another has taken might leave a blocking read nothing. */
		if (!(reported & events) ||
		    (taken && request->opcode == IORING_OP_READ))
			continue;
		/* A full queue: the level is reported again. */
		if (!uring_epoll_has_room(ring)) {
			if (ring->epoll->turned_away < 0)
				ring->epoll->turned_away = fd;
			served->progress = true;
			continue;
		}
		taken |= request->opcode != IORING_OP_POLL_ADD;
		if (uring_epoll_carry_out(ring, request, reported & events))
			served->progress = true;
		else
			served->nothing = true;
	}
}

/* Carry out what waits for this event. `sleeps`: the thread goes back to sleep if that
 * completes nothing. */
static inline void uring_epoll_serve(struct io_uring *ring,
				     const struct epoll_event *event, bool sleeps)
{
	int fd = (int)(uint32_t)event->data.u64;
	uint32_t generation = (uint32_t)(event->data.u64 >> 32);
	struct uring_epoll_descriptor *d = uring_epoll_descriptor_of(ring->epoll, fd);
	struct uring_epoll_served served;

	if (!d || !d->registered || d->generation != generation) {
		ring->epoll->rebuild_due = true;
		return;
	}
	memset(&served, 0, sizeof(served));
	uring_epoll_serve_requests(ring, d, fd, event->events, &served);
	served.wanted |= uring_epoll_serve_watch(ring->epoll, d, event->events);
	if (served.progress)
		uring_epoll_progress(ring, d, fd);
	else if (served.nothing)
		uring_epoll_no_progress(ring, d, fd);
	if (event->events & ~served.wanted)
		uring_epoll_unwanted(ring, d, fd, event->events & ~served.wanted,
				     sleeps);
}

#endif
