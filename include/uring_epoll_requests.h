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

/* The greatest opcode that the driver serves: the end of a probe's answer. */
#define URING_EPOLL_LAST_OP IORING_OP_RECV
/* The most completions of one entry: its own and that of the request it cancels. */
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
	/* The other fields and flags select updates of polls. */
	if ((sqe->len & ~IORING_POLL_ADD_MULTI) || sqe->off || sqe->addr || sqe->ioprio)
		return -EINVAL;
	/* Only the lower half: the upper one holds epoll's own flags (EPOLLET). */
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

/* A multishot receive uses three sizes of its msghdr, and reads them only now. */
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
	/* Not supported: this driver completes a receive with the first data. */
	if (sqe->msg_flags & MSG_WAITALL)
		return -EINVAL;
	if (request->multishot && !provided)
		return -EINVAL;
	/* A skipped completion would lose the number of its buffer. */
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

/* Register the descriptor and arm the request. After -errno nothing is registered. */
static inline int uring_epoll_arm(struct io_uring *ring,
				  struct uring_epoll_request *request)
{
	struct uring_epoll *ep = ring->epoll;
	struct uring_epoll_descriptor *d = NULL;
	int fd = request->fd, ret;

	if (request->opcode == IORING_OP_POLL_ADD && request->multishot)
		return uring_epoll_add_notifier(ring, request);
	ret = uring_epoll_open_descriptor(ep, fd, &d);
	if (ret == 0)
		ret = uring_epoll_want(ring, d, fd, request->events);
	if (ret == 0)
		uring_epoll_wait_in(ep, &d->requests, request);
	return ret;
}

/* The result of a request on a file that epoll refuses because it is always ready (a
 * regular file, a directory). A poll for events that such a file never reports is an
 * error, as on io_uring. */
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

/* POLL_ADD, READ, RECV, RECVMSG: arm a request, or complete it at once. */
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

	/* Only by user_data. */
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

/* Consume all published entries in order. Returns their number; -ENOMEM if there is no
 * memory for the completions of the first. Entries not consumed stay in the queue. */
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
		/* Release: as the kernel's; from now on the slot may be reused. */
		__atomic_store_n(sq->khead, ep->sq_head + 1, __ATOMIC_RELEASE);
	}
	return (int)(ep->sq_head - first);
}

/* ---- carrying a request out ----------------------------------------------------- */

/* Carry out a request whose descriptor has reported `events`. False if the call would
 * have blocked; then the request stays armed. */
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
		/* Also on a blocking descriptor: it was readable just now, and the ring
		 * is the only reader of an eventfd or a pipe that is read by it. */
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

/* No request wanted some of the reported events. A request that is armed repeatedly may
 * be between two uses, so the first such event is ignored while the thread does not
 * sleep. An error or a hang-up cannot be ignored: epoll reports it whatever the
 * registration asks for. */
static inline void uring_epoll_unwanted(struct io_uring *ring,
					struct uring_epoll_descriptor *d, int fd,
					uint32_t events, bool sleeps)
{
	if (!sleeps && !d->unwanted && !(events & URING_EPOLL_ALWAYS))
		d->unwanted = true;
	else
		uring_epoll_narrow(ring, d, fd);
}

/* The outcome of one event. */
struct uring_epoll_served {
	/* The union of the events that requests and the watch want, reported or not. */
	uint32_t wanted;
	/* A request was carried out, or waits for room in the completion queue. */
	bool progress;
	/* The call of a request would have blocked. */
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
		/* Carrying out a request frees at most that one. */
		next = request->next;
		events = request->events | URING_EPOLL_ALWAYS;
		served->wanted |= events;
		/* Another request may have read everything: a blocking read would
		 * block. */
		if (!(reported & events) ||
		    (taken && request->opcode == IORING_OP_READ))
			continue;
		/* The completion queue is full: the next enter reports it again. */
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

/* Carry out the requests that want this event. `sleeps`: if none completes, the thread
 * sleeps again. */
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
