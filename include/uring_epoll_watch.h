/* SPDX-License-Identifier: MIT
 *
 * Watches of the epoll driver: descriptors whose readiness is told, not acted on.
 *
 * A watch shares the descriptor's registration with the requests, so that one
 * epoll_wait() finds out what both wait for. What is ready is kept in a list until
 * uring_epoll_take_ready(). A multishot POLL_ADD of the ring's own descriptor
 * completes, with F_MORE, when the list gets its first; so it ends a sleep as any
 * completion does.
 *
 * Watches have epoll's levels: an enter that looks drops what was not taken, since
 * epoll reports it again.
 */
#ifndef URING_EPOLL_WATCH_H
#define URING_EPOLL_WATCH_H

#include "uring_epoll_complete.h"
#include "uring_epoll_set.h"

/* The descriptor's entry in the table, made if it is missing: 0, -EBADF or -ENOMEM. */
static inline int uring_epoll_open_descriptor(struct uring_epoll *ep, int fd,
					      struct uring_epoll_descriptor **out)
{
	/* A number that is no descriptor must not size the table. */
	if (fd < 0 ||
	    ((unsigned)fd >= ep->descriptors_count && fcntl(fd, F_GETFD) < 0))
		return -EBADF;
	return uring_epoll_make_descriptor(ep, fd, out);
}

/* ---- what is watched ------------------------------------------------------------- */

static inline int uring_epoll_unwatch(struct io_uring *ring,
				      struct uring_epoll_descriptor *d)
{
	d->watched = d->ready = 0;
	if (d->registered && d->requests.first)
		return uring_epoll_modify(ring, d, d->fd, uring_epoll_wanted(d));
	d->registered = false;
	return uring_epoll_control(ring->ring_fd, EPOLL_CTL_DEL, d->fd, 0, 0);
}

/* As epoll_ctl() for a set that has the watches alone: 0 or -errno. With EPOLLONESHOT
 * the first report may be the last. An error ends the watch. */
static inline int uring_epoll_watch(struct io_uring *ring, int how, int fd,
				    uint32_t events)
{
	struct uring_epoll_descriptor *d = NULL;
	int ret = uring_epoll_open_descriptor(ring->epoll, fd, &d);

	if (ret < 0)
		return ret;
	if (how == EPOLL_CTL_DEL)
		return uring_epoll_unwatch(ring, d);
	/* The requests are to hear of more than one event. */
	if (d->requests.first)
		events &= ~EPOLLONESHOT;
	d->watched = events & ~EPOLLONESHOT;
	d->ready = 0;
	ret = -ENOENT;
	if (how == EPOLL_CTL_MOD || (d->registered && d->requests.first))
		ret = uring_epoll_modify(ring, d, fd, uring_epoll_wanted(d) | events);
	/* The requests, if any, are those of another file, and lost. */
	if (ret < 0 && how == EPOLL_CTL_ADD)
		ret = uring_epoll_add(ring, d, fd, events);
	d->watched = ret < 0 ? 0 : events & ~EPOLLONESHOT;
	return ret;
}

/* Change what is watched without telling epoll. False if epoll would have to be told,
 * and then nothing has changed. What epoll reports too much is let pass, or taken out,
 * as for requests. */
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

/* ---- what is ready --------------------------------------------------------------- */

/* Keep what the watch is to be told of this event. Returns what it would have taken. */
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

/* An enter looks anew: only what epoll will not report again is kept. */
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

/* Take what is ready, `room` descriptors at most: data.u64 is the number, `events` what
 * the watch wants of what was reported, and errors and hang-ups. Returns how many.
 * `comes_back`: unless that is 0, the next enter need not tell that there is more. */
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
	ep->told = comes_back && count;
	return count;
}

/* ---- who is told ----------------------------------------------------------------- */

/* A multishot POLL_ADD: of the ring's own descriptor, or there is no such thing. */
static inline int uring_epoll_add_teller(struct io_uring *ring,
					 struct uring_epoll_request *request)
{
	if (request->fd != ring->ring_fd)
		return -EINVAL;
	ring->epoll->told = false;
	uring_epoll_wait_in(ring->epoll, &ring->epoll->tellers, request);
	return 0;
}

/* Complete the poll of the set, once, if a watch has something to be told. In a full
 * queue a later enter does it. */
static inline void uring_epoll_tell(struct io_uring *ring)
{
	struct uring_epoll *ep = ring->epoll;

	if (!ep->ready_first || ep->told || !ep->tellers.first ||
	    !uring_epoll_has_room(ring))
		return;
	ep->told = true;
	uring_epoll_post(ring, ep->tellers.first->user_data, EPOLLIN,
			 IORING_CQE_F_MORE);
}

#endif
