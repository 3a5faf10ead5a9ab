/* SPDX-License-Identifier: MIT
 *
 * The epoll driver's tables: requests, descriptors, groups of provided buffers.
 *
 * A request is found in two ways: by its descriptor, when epoll reports that one, and
 * by its user_data, to cancel it. Requests and descriptors are never given back to the
 * C library before the ring's exit, so that a busy ring does not allocate, and so that
 * an event never leads to freed memory.
 */
#ifndef URING_EPOLL_STATE_H
#define URING_EPOLL_STATE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "uring_queues.h"

/* Requests are allocated so many at a time. */
#define URING_EPOLL_SLAB 64
/* The hash of user_data begins with so many buckets; a power of two. */
#define URING_EPOLL_BUCKETS 64

struct uring_epoll_request;

struct uring_epoll_list {
	struct uring_epoll_request *first;
	struct uring_epoll_request *last;
};

/* What an entry asked for and has not got yet: a copy, since the entry's slot in the
 * queue is used again. */
struct uring_epoll_request {
	/* The descriptor's list, or the one of requests that have lost theirs. */
	struct uring_epoll_list *list;
	struct uring_epoll_request *previous;
	/* Also links the free requests. */
	struct uring_epoll_request *next;
	struct uring_epoll_request *same_bucket;
	uint64_t user_data;
	/* READ and RECV: the memory; RECVMSG without multishot: the msghdr. */
	uint64_t addr;
	uint64_t offset;
	/* READ, RECV: bytes at most; 0 with a provided buffer: all of that. */
	uint32_t len;
	/* Poll bits that carry the request out; errors and hang-ups always do. */
	uint32_t events;
	uint32_t msg_flags;
	/* Multishot RECVMSG: room before the payload, as the msghdr asked for. */
	uint32_t name_bytes;
	uint32_t control_bytes;
	int32_t fd;
	uint16_t buf_group;
	uint8_t opcode;
	uint8_t sqe_flags;
	bool multishot;
};

/* A descriptor number that was used once. */
struct uring_epoll_descriptor {
	struct uring_epoll_list requests;
	/* What a watch wants to be told, and what it has not been told yet: see
	 * uring_epoll_watch.h. */
	uint32_t watched;
	uint32_t ready;
	struct uring_epoll_descriptor *next_ready;
	bool in_ready_list;
	int fd;
	/* Goes up with each registration and comes back in its events, which so tell
	 * whether they are of this one or of a closed file that had the number. */
	uint32_t generation;
	/* What the registration asks epoll for; 0: nothing more, after EPOLLONESHOT. */
	uint32_t interest;
	bool registered;
	/* Nobody wanted the last event; it has been let pass once. */
	bool unwanted;
	/* The last event was wanted, and there was nothing to take. */
	bool stalled;
	/* The registration is edge-triggered, see uring_epoll_no_progress(). */
	bool edge;
};

/* A ring of provided buffers. */
struct uring_epoll_group {
	struct io_uring_buf_ring *ring;
	uint16_t mask;
	/* The next buffer to take; the owner of the buffers moves ring->tail. */
	uint16_t head;
	uint16_t id;
};

struct uring_epoll_slab {
	struct uring_epoll_slab *next;
	struct uring_epoll_request requests[URING_EPOLL_SLAB];
};

struct uring_epoll {
	/* What the pointers in io_uring_sq and io_uring_cq lead to. */
	unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail;
	/* Requests that wait, those without a descriptor included. */
	unsigned armed_count;
	/* Indexed by descriptor number; NULL: never used. */
	struct uring_epoll_descriptor **descriptors;
	unsigned descriptors_count;
	/* Requests whose descriptor was closed: they hear nothing but a cancel. */
	struct uring_epoll_list lost;
	struct uring_epoll_request **buckets;
	unsigned buckets_count;
	struct uring_epoll_request *free_requests;
	struct uring_epoll_slab *slabs;
	/* Two or three as a rule, so that a search from the start is short. */
	struct uring_epoll_group *groups;
	unsigned groups_count;
	/* Completions that found a full queue, oldest first. */
	struct io_uring_cqe *overflow;
	unsigned overflow_first, overflow_end, overflow_room;
	/* Descriptors whose watches have something to be told, in epoll's order. */
	struct uring_epoll_descriptor *ready_first, *ready_last;
	/* The multishot poll of the set itself, which says that there are some. */
	struct uring_epoll_list tellers;
	/* It has said so, and nobody has taken them since. */
	bool told;
	/* The first descriptor that found no room in the completion queue, or -1. */
	int turned_away;
	/* The set holds a registration that epoll_ctl() cannot name any more. */
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
	/* Addresses end in zeros: the product's upper half depends on all bits. */
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

/* Keep the chains short. Without memory they get longer, and nothing else happens. */
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

/* An empty request, or NULL without memory. */
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

/* Let the request wait in `list`. Nothing here can fail. Only epoll_wait() can tell
 * whether something that is waited for is ready, so an enter may find work as long as
 * anything waits: TASKRUN says so to uring_need_wait(). */
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

/* The request waits no more; its memory may be another's after the next entry. */
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

/* As uring_epoll_descriptor_of(), made if it is missing: 0 or -ENOMEM. The caller has
 * looked that `fd` is no negative number and below RLIMIT_NOFILE's greatest value. */
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
