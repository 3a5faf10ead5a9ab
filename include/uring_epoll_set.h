/* SPDX-License-Identifier: MIT
 *
 * The epoll set of a ring: the registered descriptors and their events.
 *
 * A descriptor has one registration, for the union of the events of its requests and of
 * its watch (uring_epoll_watch.h). The registration is level-triggered, so that no
 * event is lost if it is not served at once. It stays when its requests end, so that a
 * poll which is armed repeatedly needs no epoll_ctl(). It is narrowed or removed when
 * it reports an event that neither a request nor the watch wants.
 *
 * epoll identifies a registration by open file *and* number, and keeps it until the
 * last descriptor of the file is closed. So a closed descriptor whose file lives on in
 * a dup() or in a forked child continues to be reported, and epoll_ctl() cannot address
 * it. The generation in the event reveals such a registration; then the set is rebuilt.
 *
 * One case is invisible to the driver: a number that was closed and reused for a new
 * file between two requests for the same events. The owner of a descriptor therefore
 * calls uring_forget_fd().
 */
#ifndef URING_EPOLL_SET_H
#define URING_EPOLL_SET_H

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "uring_epoll_state.h"
#include "uring_system.h"

/* Events that epoll and poll(2) always report. On Linux the bits of poll(2) and epoll
 * have the same values. */
#define URING_EPOLL_ALWAYS (EPOLLERR | EPOLLHUP)

static inline int uring_epoll_control(int set, int how, int fd, uint32_t generation,
				      uint32_t events)
{
	struct epoll_event event;

	event.events = events;
	event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
	return uring_result(epoll_ctl(set, how, fd, &event));
}

/* The union of the events that the descriptor's requests and its watch want. */
static inline uint32_t uring_epoll_wanted(const struct uring_epoll_descriptor *d)
{
	const struct uring_epoll_request *request = d->requests.first;
	uint32_t events = d->watched;

	for (; request; request = request->next)
		events |= request->events;
	return events;
}

static inline void uring_epoll_registered(struct uring_epoll_descriptor *d,
					  uint32_t interest)
{
	d->registered = true;
	d->interest = interest;
	d->unwanted = d->stalled = d->edge = false;
}

/* The number no longer names the registered file. As with a selector, the requests get
 * no more events of that file; they stay armed until they are cancelled. The watch
 * ends. */
static inline void uring_epoll_lose(struct uring_epoll *ep,
				    struct uring_epoll_descriptor *d)
{
	struct uring_epoll_request *request;

	while ((request = d->requests.first)) {
		uring_epoll_unlink(request);
		uring_epoll_append(&ep->lost, request);
	}
	d->registered = false;
	d->watched = d->ready = 0;
}

/* Set the events of a registration; with the same events, check that it still exists.
 * Every error means that it does not: the number is free (EBADF) or names a new file
 * (ENOENT; EPERM if that is a regular file). */
static inline int uring_epoll_modify(struct io_uring *ring,
				     struct uring_epoll_descriptor *d, int fd,
				     uint32_t interest)
{
	int ret = uring_epoll_control(ring->ring_fd, EPOLL_CTL_MOD, fd, d->generation,
				      interest);

	if (ret == 0)
		uring_epoll_registered(d, interest);
	else
		uring_epoll_lose(ring->epoll, d);
	return ret;
}

static inline int uring_epoll_add(struct io_uring *ring,
				  struct uring_epoll_descriptor *d, int fd,
				  uint32_t interest)
{
	int ret = uring_epoll_control(ring->ring_fd, EPOLL_CTL_ADD, fd,
				      d->generation + 1, interest);

	/* A lost registration: dup2() has put its file back under this number. */
	if (ret == -EEXIST)
		ret = uring_epoll_control(ring->ring_fd, EPOLL_CTL_MOD, fd,
					  d->generation + 1, interest);
	if (ret < 0)
		return ret;
	d->generation++;
	uring_epoll_registered(d, interest);
	return 0;
}

/* Does the registration report `events` already, if the number still names its file? */
static inline bool uring_epoll_covers(const struct uring_epoll_descriptor *d,
				      uint32_t events)
{
	/* An edge-triggered registration may have reported the event: renew it. */
	return d->registered && !d->edge && !(d->interest & EPOLLONESHOT) &&
	       !(events & ~d->interest);
}

/* Add `events` to the events that epoll reports of the descriptor. -EPERM: the file
 * does not support epoll, since it is always ready. */
static inline int uring_epoll_want(struct io_uring *ring,
				   struct uring_epoll_descriptor *d, int fd,
				   uint32_t events)
{
	uint32_t interest = (d->interest | events) & ~EPOLLONESHOT;

	d->unwanted = false;
	if (uring_epoll_covers(d, events))
		return 0;
	if (d->registered && uring_epoll_modify(ring, d, fd, interest) == 0)
		return 0;
	return uring_epoll_add(ring, d, fd, events);
}

/* The registration has reported an event that no request wants: stop that event. If
 * epoll_ctl() does not find the registration, its next event has no entry in the table,
 * and the set is rebuilt. */
static inline void uring_epoll_narrow(struct io_uring *ring,
				      struct uring_epoll_descriptor *d, int fd)
{
	if (d->requests.first || d->watched) {
		uring_epoll_modify(ring, d, fd, uring_epoll_wanted(d));
	} else {
		uring_epoll_control(ring->ring_fd, EPOLL_CTL_DEL, fd, 0, 0);
		d->registered = false;
	}
}

/* An event was reported, but the call would have blocked: an error queue that recv(2)
 * does not read (IP_RECVERR), or another process that reads the same socket. The second
 * time in a row the registration becomes edge-triggered, so that an event which stays
 * asserted cannot keep the thread awake. The first progress makes it level-triggered
 * again. A watched descriptor stays level-triggered, as its user expects. */
static inline void uring_epoll_no_progress(struct io_uring *ring,
					   struct uring_epoll_descriptor *d, int fd)
{
	uint32_t interest = d->interest;

	if (d->edge || d->watched)
		return;
	if (!d->stalled) {
		d->stalled = true;
		return;
	}
	if (uring_epoll_modify(ring, d, fd, interest | EPOLLET) == 0) {
		d->interest = interest;
		d->edge = true;
	}
}

static inline void uring_epoll_progress(struct io_uring *ring,
					struct uring_epoll_descriptor *d, int fd)
{
	d->stalled = false;
	if (d->edge)
		uring_epoll_modify(ring, d, fd, d->interest);
}

/* See uring_forget_fd(). Armed requests keep their registration if the number still
 * names the registered file. */
static inline void uring_epoll_forget_fd(struct io_uring *ring, int fd)
{
	struct uring_epoll_descriptor *d = uring_epoll_descriptor_of(ring->epoll, fd);

	/* A registration without interest reports nothing, and its next use verifies
	 * the file: a transport takes over a socket whose connect() was watched. */
	if (!d || !d->registered || !d->interest)
		return;
	if (d->requests.first || d->watched) {
		uring_epoll_modify(ring, d, fd, d->interest);
		return;
	}
	/* An error means that the registration is gone, or that only its events can
	 * reveal it. */
	uring_epoll_control(ring->ring_fd, EPOLL_CTL_DEL, fd, 0, 0);
	d->registered = false;
}

/* Copy the registrations that are still valid into another set. EPOLL_CTL_MOD on the
 * old set fails for a reused number, since epoll identifies registrations by file. */
static inline int uring_epoll_copy_set(struct io_uring *ring, int set)
{
	struct uring_epoll *ep = ring->epoll;
	struct uring_epoll_descriptor *d;
	int ret;

	for (unsigned fd = 0; fd < ep->descriptors_count; fd++) {
		d = ep->descriptors[fd];
		if (!d || !d->registered)
			continue;
		if (!d->interest)
			d->registered = false;
		else
			uring_epoll_modify(ring, d, (int)fd, d->interest);
		if (!d->registered)
			continue;
		ret = uring_epoll_control(set, EPOLL_CTL_ADD, (int)fd, d->generation,
					  d->interest);
		if (ret == -EBADF)
			uring_epoll_lose(ep, d);
		else if (ret < 0)
			return ret;
	}
	return 0;
}

/* Replace the set by one without the registrations that cannot be addressed any more.
 * The new set gets the descriptor number of the old one, since hosts poll that number.
 * After an error the old set stays in use; the next event of the dead registration
 * starts another attempt. */
static inline int uring_epoll_rebuild(struct io_uring *ring)
{
	int set = uring_result(epoll_create1(EPOLL_CLOEXEC));
	int ret;

	if (set < 0)
		return set;
	ret = uring_epoll_copy_set(ring, set);
	if (ret == 0)
		ret = uring_result(dup3(set, ring->ring_fd, O_CLOEXEC));
	close(set);
	if (ret < 0)
		return ret;
	ring->epoll->rebuild_due = false;
	return 0;
}

#endif
