/* SPDX-License-Identifier: MIT
 *
 * Watches of the epoll driver: descriptors whose readiness is reported to the caller.
 *
 * A watch shares the descriptor's registration with the requests, so that one
 * epoll_wait() serves both. Events of watches are collected in the ready list until
 * uring_epoll_take_ready() returns them. A multishot POLL_ADD of the ring's own
 * descriptor, the notifier, gets a completion (with F_MORE) when the list becomes
 * non-empty, so it ends a sleep as any completion does.
 *
 * Watches are level-triggered: each enter that calls epoll_wait() first drops the
 * events that were not taken, since epoll reports them again.
 */
#ifndef URING_EPOLL_WATCH_H
#define URING_EPOLL_WATCH_H

#include "uring_epoll_complete.h"
#include "uring_epoll_set.h"

/* The descriptor's entry in the table, made if it is missing: 0, -EBADF or -ENOMEM. */
static inline int uring_epoll_open_descriptor(struct uring_epoll *ep, int fd,
					      struct uring_epoll_descriptor **out)
{
	/* Grow the table only for an open descriptor: the number may be any. */
	if (fd < 0 ||
	    ((unsigned)fd >= ep->descriptors_count && fcntl(fd, F_GETFD) < 0))
		return -EBADF;
	return uring_epoll_make_descriptor(ep, fd, out);
}

/* ---- adding and removing --------------------------------------------------------- */

static inline int uring_epoll_unwatch(struct io_uring *ring,
				      struct uring_epoll_descriptor *d)
{
	d->watched = d->ready = 0;
	if (d->registered && d->requests.first)
		return uring_epoll_modify(ring, d, d->fd, uring_epoll_wanted(d));
	d->registered = false;
	return uring_epoll_control(ring->ring_fd, EPOLL_CTL_DEL, d->fd, 0, 0);
}

/* epoll_ctl() as if the set had no registrations but those of watches: 0 or -errno.
 * With EPOLLONESHOT and no requests, the first event disables the registration. An
 * error ends the watch. */
static inline int uring_epoll_watch(struct io_uring *ring, int how, int fd,
				    uint32_t events)
{
	struct uring_epoll_descriptor *d = NULL;
	int ret = uring_epoll_open_descriptor(ring->epoll, fd, &d);

	if (ret < 0)
		return ret;
	if (how == EPOLL_CTL_DEL)
		return uring_epoll_unwatch(ring, d);
	/* The requests need every event. */
	if (d->requests.first)
		events &= ~EPOLLONESHOT;
	d->watched = events & ~EPOLLONESHOT;
	d->ready = 0;
	ret = -ENOENT;
	if (how == EPOLL_CTL_MOD || (d->registered && d->requests.first))
		ret = uring_epoll_modify(ring, d, fd, uring_epoll_wanted(d) | events);
	/* The requests, if any, were for another file, and are lost. */
	if (ret < 0 && how == EPOLL_CTL_ADD)
		ret = uring_epoll_add(ring, d, fd, events);
	d->watched = ret < 0 ? 0 : events & ~EPOLLONESHOT;
	return ret;
}

/* Change the events of the watch without a system call; false, with nothing changed, if
 * that needs one. The registration may then report events that nothing wants, which
 * uring_epoll_unwanted() deals with. */
static inline bool uring_epoll_watch_again(struct uring_epoll *ep, int fd,
					   uint32_t events)
{
	struct uring_epoll_descriptor *d = uring_epoll_descriptor_of(ep, fd);

	if (!d || (events && !uring_epoll_covers(d, events)))
		return false;
	d->watched = events;
	d->ready &= events;
	d->unwanted &= !events;
	return true;
}

/* ---- the ready list -------------------------------------------------------------- */

/* Add what the watch wants of this event to the ready list. Returns all that it
 * wants. */
static inline uint32_t uring_epoll_serve_watch(struct uring_epoll *ep,
					       struct uring_epoll_descriptor *d,
					       uint32_t reported)
{
	uint32_t wanted = d->watched ? d->watched | URING_EPOLL_ALWAYS : 0;

	if (d->interest & EPOLLONESHOT)
		d->interest = 0;
	if (!(reported & wanted))
		return wanted;
	d->ready |= reported & wanted;
	if (!d->in_ready_list) {
		d->in_ready_list = true;
		d->next_ready = NULL;
		if (ep->ready_last)
			ep->ready_last->next_ready = d;
		else
			ep->ready_first = d;
		ep->ready_last = d;
	}
	return wanted;
}

static inline struct uring_epoll_descriptor *
uring_epoll_pop_ready(struct uring_epoll *ep)
{
	struct uring_epoll_descriptor *d = ep->ready_first;

	ep->ready_first = d->next_ready;
	if (!ep->ready_first)
		ep->ready_last = NULL;
	d->in_ready_list = false;
	return d;
}

/* Before another epoll_wait(): drop all events but those that epoll does not report
 * again (EPOLLONESHOT). */
static inline void uring_epoll_drop_ready(struct uring_epoll *ep)
{
	struct uring_epoll_descriptor *d, *last = ep->ready_last;

	while (last) {
		d = uring_epoll_pop_ready(ep);
		if (d->registered && !d->interest)
			uring_epoll_serve_watch(ep, d, d->ready);
		else
			d->ready = 0;
		if (d == last)
			return;
	}
}

/* Take up to `room` descriptors from the ready list: data.u64 is the number, `events`
 * what the watch wants of the reported events, and errors and hang-ups. Returns how
 * many. `comes_back`: after a result above 0 the caller will call again after the next
 * enter, without a completion of the notifier. */
static inline int uring_epoll_take_ready(struct uring_epoll *ep,
					 struct epoll_event *out, int room,
					 bool comes_back)
{
	struct uring_epoll_descriptor *d;
	int count = 0;

	while (ep->ready_first && count < room) {
		d = uring_epoll_pop_ready(ep);
		if (!d->ready || !d->watched)
			continue;
		out[count].events = d->ready;
		out[count++].data.u64 = (uint64_t)d->fd;
		d->ready = 0;
	}
	ep->notified = comes_back && count;
	return count;
}

/* ---- the notifier ---------------------------------------------------------------- */

/* A multishot POLL_ADD, which is supported for the ring's own descriptor only. */
static inline int uring_epoll_add_notifier(struct io_uring *ring,
					 struct uring_epoll_request *request)
{
	if (request->fd != ring->ring_fd)
		return -EINVAL;
	ring->epoll->notified = false;
	uring_epoll_wait_in(ring->epoll, &ring->epoll->notifiers, request);
	return 0;
}

/* Complete the notifier if the ready list is not empty, once until the list is taken.
 * If the queue is full, a later enter does that. */
static inline void uring_epoll_notify(struct io_uring *ring)
{
	struct uring_epoll *ep = ring->epoll;

	if (!ep->ready_first || ep->notified || !ep->notifiers.first ||
	    !uring_epoll_has_room(ring))
		return;
	ep->notified = true;
	uring_epoll_post(ring, ep->notifiers.first->user_data, EPOLLIN,
			 IORING_CQE_F_MORE);
}

#endif
