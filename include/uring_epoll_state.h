/* SPDX-License-Identifier: MIT
 *
 * The epoll driver's tables: requests, descriptors, groups of provided buffers.
 *
 * A request is found in two ways: by its descriptor, when epoll reports an event, and
 * by its user_data, to cancel it. The memory of requests and descriptors is freed at
 * the ring's exit only, so that a busy ring does not allocate and an event never refers
 * to freed memory.
 */
#ifndef URING_EPOLL_STATE_H
#define URING_EPOLL_STATE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "uring_queues.h"

/* The number of requests that one malloc() provides. */
#define URING_EPOLL_SLAB 64
/* The initial size of the hash table of user_data; a power of two. */
#define URING_EPOLL_BUCKETS 64

struct uring_epoll_request;

struct uring_epoll_list {
	struct uring_epoll_request *first;
	struct uring_epoll_request *last;
};

/* A request that has not completed: a copy of its entry, since the entry's slot in the
 * queue is reused. */
struct uring_epoll_request {
	/* The list of its descriptor, or uring_epoll.lost. */
	struct uring_epoll_list *list;
	struct uring_epoll_request *previous;
	/* Also links the free requests. */
	struct uring_epoll_request *next;
	struct uring_epoll_request *same_bucket;
	uint64_t user_data;
	/* READ and RECV: the buffer; RECVMSG without multishot: the msghdr. */
	uint64_t addr;
	uint64_t offset;
	/* READ, RECV: the most bytes to read; 0: the whole provided buffer. */
	uint32_t len;
	/* The poll bits that make the request ready; errors and hang-ups always do. */
	uint32_t events;
	uint32_t msg_flags;
	/* Multishot RECVMSG: the space before the payload, as set in the msghdr. */
	uint32_t name_bytes;
	uint32_t control_bytes;
	int32_t fd;
	uint16_t buf_group;
	uint8_t opcode;
	uint8_t sqe_flags;
	bool multishot;
};

/* A descriptor number that some request has used. */
struct uring_epoll_descriptor {
	struct uring_epoll_list requests;
	/* The events that the watch wants, and those that uring_epoll_take_ready() has
	 * not returned yet: see uring_epoll_watch.h. */
	uint32_t watched;
	uint32_t ready;
	struct uring_epoll_descriptor *next_ready;
	bool in_ready_list;
	int fd;
	/* Incremented with each registration. Events carry it, so that an event of a
	 * closed file that had the same number is recognised. */
	uint32_t generation;
	/* The events of the registration; 0 once EPOLLONESHOT has disabled it. */
	uint32_t interest;
	bool registered;
	/* No request wanted the last event; it was ignored once. */
	bool unwanted;
	/* A request wanted the last event, and its call would have blocked. */
	bool stalled;
	/* The registration is edge-triggered, see uring_epoll_no_progress(). */
	bool edge;
};

/* A ring of provided buffers. */
struct uring_epoll_group {
	struct io_uring_buf_ring *ring;
	uint16_t mask;
	/* The next buffer to use; the owner of the buffers advances ring->tail. */
	uint16_t head;
	uint16_t id;
};

struct uring_epoll_slab {
	struct uring_epoll_slab *next;
	struct uring_epoll_request requests[URING_EPOLL_SLAB];
};

struct uring_epoll {
	/* io_uring_sq and io_uring_cq point to these. */
	unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail;
	/* Armed requests, including those in `lost`. */
	unsigned armed_count;
	/* Indexed by descriptor number; NULL: never used. */
	struct uring_epoll_descriptor **descriptors;
	unsigned descriptors_count;
	/* Requests whose descriptor was closed: only a cancel ends them. */
	struct uring_epoll_list lost;
	struct uring_epoll_request **buckets;
	unsigned buckets_count;
	struct uring_epoll_request *free_requests;
	struct uring_epoll_slab *slabs;
	/* Usually two or three, so a linear search is short. */
	struct uring_epoll_group *groups;
	unsigned groups_count;
	/* Completions for which the queue had no room, oldest first. */
	struct io_uring_cqe *overflow;
	unsigned overflow_first, overflow_end, overflow_room;
	/* Descriptors with events for their watch, in epoll's order. */
	struct uring_epoll_descriptor *ready_first, *ready_last;
	/* Multishot polls of the ring's own descriptor; the first one is completed when
	 * the ready list gets an element. */
	struct uring_epoll_list notifiers;
	/* The notifier has been completed since the list was last taken. */
	bool notified;
	/* The first descriptor for which the completion queue had no room, or -1. */
	int turned_away;
	/* The set holds a registration that epoll_ctl() cannot address any more. */
	bool rebuild_due;
	/* epoll_pwait2() is missing or forbidden. */
	bool only_milliseconds;
};

/* ---- lists ---------------------------------------------------------------------- */

static inline void uring_epoll_append(struct uring_epoll_list *list,
				      struct uring_epoll_request *request)
{
	request->list = list;
	request->next = NULL;
	request->previous = list->last;
	if (list->last)
		list->last->next = request;
	else
		list->first = request;
	list->last = request;
}

static inline void uring_epoll_unlink(struct uring_epoll_request *request)
{
	struct uring_epoll_list *list = request->list;

	if (request->previous)
		request->previous->next = request->next;
	else
		list->first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		list->last = request->previous;
}

/* ---- requests by user_data ------------------------------------------------------ */

static inline struct uring_epoll_request **
uring_epoll_bucket(struct uring_epoll *ep, uint64_t user_data)
{
	/* The low bits of addresses are zero. The upper half of the product depends on
	 * all bits. */
	uint64_t mixed = (user_data * 0x9E3779B97F4A7C15ULL) >> 32;

	return &ep->buckets[mixed & (ep->buckets_count - 1)];
}

static inline void uring_epoll_hash(struct uring_epoll *ep,
				    struct uring_epoll_request *request)
{
	struct uring_epoll_request **bucket =
		uring_epoll_bucket(ep, request->user_data);

	request->same_bucket = *bucket;
	*bucket = request;
}

static inline void uring_epoll_unhash(struct uring_epoll *ep,
				      struct uring_epoll_request *request)
{
	struct uring_epoll_request **link = uring_epoll_bucket(ep, request->user_data);

	while (*link != request)
		link = &(*link)->same_bucket;
	*link = request->same_bucket;
}

static inline struct uring_epoll_request *uring_epoll_find(struct uring_epoll *ep,
							   uint64_t user_data)
{
	struct uring_epoll_request *request = *uring_epoll_bucket(ep, user_data);

	while (request && request->user_data != user_data)
		request = request->same_bucket;
	return request;
}

/* Keep the chains short. If memory is missing they get longer, with no other effect. */
static inline void uring_epoll_grow_hash(struct uring_epoll *ep)
{
	struct uring_epoll_request **old = ep->buckets, *request, *next;
	unsigned count = ep->buckets_count;
	void *more;

	if (ep->armed_count < count || count > UINT32_MAX / 4)
		return;
	more = calloc(2 * (size_t)count, sizeof(*old));
	if (!more)
		return;
	ep->buckets = (struct uring_epoll_request **)more;
	ep->buckets_count = 2 * count;
	for (unsigned i = 0; i < count; i++) {
		for (request = old[i]; request; request = next) {
			next = request->same_bucket;
			uring_epoll_hash(ep, request);
		}
	}
	free(old);
}

/* ---- requests ------------------------------------------------------------------- */

/* A zeroed request, or NULL if memory is missing. */
static inline struct uring_epoll_request *
uring_epoll_new_request(struct uring_epoll *ep)
{
	struct uring_epoll_request *request = ep->free_requests;
	struct uring_epoll_slab *slab;

	if (!request) {
		slab = (struct uring_epoll_slab *)malloc(sizeof(*slab));
		if (!slab)
			return NULL;
		slab->next = ep->slabs;
		ep->slabs = slab;
		for (int i = 0; i < URING_EPOLL_SLAB; i++) {
			slab->requests[i].next = request;
			request = &slab->requests[i];
		}
	}
	ep->free_requests = request->next;
	memset(request, 0, sizeof(*request));
	return request;
}

static inline void uring_epoll_free_request(struct uring_epoll *ep,
					    struct uring_epoll_request *request)
{
	request->next = ep->free_requests;
	ep->free_requests = request;
}

/* Put the request into `list`. This cannot fail. Only a system call can tell whether an
 * armed request is ready, so an enter may find work as long as any is armed: the
 * TASKRUN flag makes uring_need_wait() true. */
static inline void uring_epoll_wait_in(struct uring_epoll *ep,
				       struct uring_epoll_list *list,
				       struct uring_epoll_request *request)
{
	uring_epoll_grow_hash(ep);
	uring_epoll_append(list, request);
	uring_epoll_hash(ep, request);
	ep->armed_count++;
	ep->sq_flags |= IORING_SQ_TASKRUN;
}

/* End the request. The next entry may reuse its memory. */
static inline void uring_epoll_end_request(struct uring_epoll *ep,
					   struct uring_epoll_request *request)
{
	uring_epoll_unlink(request);
	uring_epoll_unhash(ep, request);
	uring_epoll_free_request(ep, request);
	if (--ep->armed_count == 0)
		ep->sq_flags &= ~IORING_SQ_TASKRUN;
}

/* ---- descriptors ---------------------------------------------------------------- */

static inline struct uring_epoll_descriptor *
uring_epoll_descriptor_of(struct uring_epoll *ep, int fd)
{
	return fd >= 0 && (unsigned)fd < ep->descriptors_count ?
	       ep->descriptors[fd] : NULL;
}

static inline int uring_epoll_grow_descriptors(struct uring_epoll *ep, int fd)
{
	unsigned count = ep->descriptors_count ? ep->descriptors_count : 64;
	void *more;

	while (count <= (unsigned)fd)
		count *= 2;
	more = realloc(ep->descriptors, count * sizeof(*ep->descriptors));
	if (!more)
		return -ENOMEM;
	ep->descriptors = (struct uring_epoll_descriptor **)more;
	memset(ep->descriptors + ep->descriptors_count, 0,
	       (count - ep->descriptors_count) * sizeof(*ep->descriptors));
	ep->descriptors_count = count;
	return 0;
}

/* As uring_epoll_descriptor_of(), but allocate it if it is missing: 0 or -ENOMEM. The
 * caller has checked that `fd` is an open descriptor or within the table. */
static inline int uring_epoll_make_descriptor(struct uring_epoll *ep, int fd,
					      struct uring_epoll_descriptor **out)
{
	void *made;

	if ((unsigned)fd >= ep->descriptors_count &&
	    uring_epoll_grow_descriptors(ep, fd) < 0)
		return -ENOMEM;
	if (!ep->descriptors[fd]) {
		made = calloc(1, sizeof(**out));
		if (!made)
			return -ENOMEM;
		ep->descriptors[fd] = (struct uring_epoll_descriptor *)made;
		ep->descriptors[fd]->fd = fd;
	}
	*out = ep->descriptors[fd];
	return 0;
}

/* ---- end ------------------------------------------------------------------------ */

static inline void uring_epoll_free(struct uring_epoll *ep)
{
	struct uring_epoll_slab *slab, *next;

	for (slab = ep->slabs; slab; slab = next) {
		next = slab->next;
		free(slab);
	}
	for (unsigned fd = 0; fd < ep->descriptors_count; fd++)
		free(ep->descriptors[fd]);
	free(ep->descriptors);
	free(ep->buckets);
	free(ep->groups);
	free(ep->overflow);
	free(ep);
}

#endif
