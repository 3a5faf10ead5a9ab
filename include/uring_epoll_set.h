/* SPDX-License-Identifier: MIT
 *
 * The epoll set of a ring: which descriptors are registered, and for what.
 *
 * A descriptor has one registration, for the union of what its requests and its watch
 * (uring_epoll_watch.h) want. It is level-triggered, so that nothing is lost when an
 * event is left alone, and it stays when its requests end: a poll that is armed again
 * and again costs no epoll_ctl(). It is narrowed or taken out when it reports what
 * nobody wants.
 *
 * epoll knows a registration by file *and* number, and keeps it until the last
 * descriptor of the file is closed. So a closed descriptor whose file lives on in a
 * dup() or in a forked child goes on reporting, and epoll_ctl() cannot name it. The
 * generation in the event tells; then the set is built anew.
 *
 * What cannot be seen is a number that was closed and used for a new file between two
 * requests for the same events: whoever owns descriptors calls uring_forget_fd().
 */
#ifndef URING_EPOLL_SET_H
#define URING_EPOLL_SET_H

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "uring_epoll_state.h"
#include "uring_system.h"

/* Reported by epoll and by poll(2) whether asked for or not. Poll bits and epoll's are
 * the same numbers on Linux. */
#define URING_EPOLL_ALWAYS (EPOLLERR | EPOLLHUP)

static inline int uring_epoll_control(int set, int how, int fd, uint32_t generation,
				      uint32_t events)
{
	struct epoll_event event;

	event.events = events;
	event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
	return uring_result(epoll_ctl(set, how, fd, &event));
}

/* The union of what the descriptor's requests and its watch want. */
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

/* The number no longer names the file that was registered. As on a selector, its
 * requests never hear of that file again; they wait for somebody to cancel them. Its
 * watch is told nothing more, either. */
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

/* Change what a registration asks for, in effect or only to look whether it is still
 * there. Every error means that it is not: the number is free (EBADF) or names a new
 * file (ENOENT; EPERM if that file is a regular one). */
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

	/* A lost registration whose file came back to its number, by dup2(). */
	if (ret == -EEXIST)
		ret = uring_epoll_control(ring->ring_fd, EPOLL_CTL_MOD, fd,
					  d->generation + 1, interest);
	if (ret < 0)
		return ret;
	d->generation++;
	uring_epoll_registered(d, interest);
	return 0;
}

/* Does epoll report `events` of the descriptor already, as far as can be known? */
static inline bool uring_epoll_covers(const struct uring_epoll_descriptor *d,
				      uint32_t events)
{
	/* Edge-triggered, the event may have been reported already. */
	return d->registered && !d->edge && !(d->interest & EPOLLONESHOT) &&
	       !(events & ~d->interest);
}

/* Make epoll report `events` of the descriptor, and what it reports already. -EPERM:
 * the file cannot be waited for, since it is always ready. */
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

/* The registration has reported what no request wants. If epoll_ctl() does not find it,
 * it reports again, and by then the table knows of none. */
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

/* The driver was told of an event, and there was nothing to take: an error queue that
 * recv(2) does not read (IP_RECVERR), or other processes that read the same socket.
 * After the second time in a row the registration gets edge-triggered, so that a level
 * which never falls cannot keep the thread awake. The first progress ends that. A watch
 * is promised the level, and whoever watches can end it. */
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

/* See uring_forget_fd(). Requests that wait keep their registration if it is still
 * that of the file with this number. */
static inline void uring_epoll_forget_fd(struct io_uring *ring, int fd)
{
	struct uring_epoll_descriptor *d = uring_epoll_descriptor_of(ring->epoll, fd);

	/* Without interest it reports nothing, and the next use looks whether it is the
	 * file's: a connection that a watch has waited for becomes a transport's. */
	if (!d || !d->registered || !d->interest)
		return;
	if (d->requests.first || d->watched) {
		uring_epoll_modify(ring, d, fd, d->interest);
		return;
	}
	/* An error says that it is gone, or that it can only be found by its events. */
	uring_epoll_control(ring->ring_fd, EPOLL_CTL_DEL, fd, 0, 0);
	d->registered = false;
}

/* Put what is still alive into another set. A number that was reused shows in the old
 * one, which knows registrations by their file. */
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

/* Replace the set by one without registrations that cannot be named any more. The new
 * one gets the old one's number, which hosts that poll the ring know. An error leaves
 * the old set in use, and the next event of the dead registration tries again. */
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
