/* SPDX-License-Identifier: MIT
 *
 * The epoll driver: serves a ring's entries from one epoll set, without io_uring.
 *
 * The queues are those of uring_queues.h, in plain memory. Entries and completions have
 * the same meaning as with the kernel. The driver serves NOP, POLL_ADD (one-shot;
 * multishot of the ring's own descriptor, for watches), READ from pollable descriptors,
 * RECV and RECVMSG (multishot with provided buffers, or single-shot), and ASYNC_CANCEL
 * by user_data. Every other entry completes with -EINVAL.
 *
 *   uring_epoll_state.h      tables: requests, descriptors, groups of buffers
 *   uring_epoll_complete.h   posting completions
 *   uring_epoll_set.h        registrations in the epoll set
 *   uring_epoll_watch.h      watches: readiness reported to the caller
 *   uring_epoll_receive.h    receiving into provided buffers
 *   uring_epoll_requests.h   from an entry to its completion
 *
 * Differences from io_uring: a request does not hold its file (a closed descriptor
 * reports nothing more, as with a selector); a full completion queue leaves a multishot
 * request armed instead of ending it; an empty buffer pool is detected only when data
 * arrives.
 */
#ifndef URING_EPOLL_H
#define URING_EPOLL_H

#include <limits.h>
#include <sys/syscall.h>

#include "uring_epoll_requests.h"

/* Since Linux 5.11; the same number on all architectures except alpha. */
#define URING_SYS_EPOLL_PWAIT2 441
/* Events fetched by one epoll_wait(); the next call fetches the rest. */
#define URING_EPOLL_BATCH 256
#define URING_EPOLL_ENTRIES_MOST 32768
/* Timeouts are capped at a century, so that adding one to the clock cannot overflow. */
#define URING_EPOLL_SECONDS_MOST 3200000000LL

/* ---- set-up and exit ------------------------------------------------------------ */

static inline void uring_epoll_point(struct io_uring *ring, unsigned entries,
				     unsigned cq_entries)
{
	struct uring_epoll *ep = ring->epoll;

	ring->sq.khead = &ep->sq_head;
	ring->sq.ktail = &ep->sq_tail;
	ring->sq.kflags = &ep->sq_flags;
	ring->sq.ring_mask = entries - 1;
	ring->sq.ring_entries = entries;
	ring->cq.khead = &ep->cq_head;
	ring->cq.ktail = &ep->cq_tail;
	ring->cq.ring_mask = cq_entries - 1;
	ring->cq.ring_entries = cq_entries;
}

static inline unsigned uring_epoll_power_of_two(unsigned least)
{
	unsigned size = 1;

	while (size < least)
		size *= 2;
	return size;
}

/* Free all memory. `ring` may be partly initialised. */
static inline void uring_epoll_release(struct io_uring *ring)
{
	free(ring->sq.sqes);
	free(ring->cq.cqes);
	uring_epoll_free(ring->epoll);
	ring->sq.sqes = NULL;
	ring->cq.cqes = NULL;
	ring->epoll = NULL;
}

static inline int uring_epoll_allocate(struct io_uring *ring, unsigned entries,
				       unsigned cq_entries)
{
	struct uring_epoll *ep = (struct uring_epoll *)calloc(1, sizeof(*ep));

	if (!ep)
		return -ENOMEM;
	ring->epoll = ep;
	ep->turned_away = -1;
	ring->sq.sqes = (struct io_uring_sqe *)calloc(entries, sizeof(*ring->sq.sqes));
	ring->cq.cqes = (struct io_uring_cqe *)calloc(cq_entries,
						      sizeof(*ring->cq.cqes));
	ep->buckets = (struct uring_epoll_request **)calloc(URING_EPOLL_BUCKETS,
							    sizeof(*ep->buckets));
	ep->buckets_count = URING_EPOLL_BUCKETS;
	if (!ring->sq.sqes || !ring->cq.cqes || !ep->buckets) {
		uring_epoll_release(ring);
		return -ENOMEM;
	}
	uring_epoll_point(ring, entries, cq_entries);
	return 0;
}

/* Make a ring that the epoll driver serves. Sizes are rounded up to powers of two and
 * capped at io_uring's limits; `cq_entries` 0 means twice the entries. ring->ring_fd is
 * the epoll set. A host may poll it: readable means that an enter finds work. */
static inline int uring_epoll_queue_init(unsigned entries, unsigned cq_entries,
					 struct io_uring *ring)
{
	int ret;

	memset(ring, 0, sizeof(*ring));
	ring->ring_fd = ring->enter_ring_fd = -1;
	if (!entries)
		return -EINVAL;
	if (entries > URING_EPOLL_ENTRIES_MOST)
		entries = URING_EPOLL_ENTRIES_MOST;
	entries = uring_epoll_power_of_two(entries);
	if (!cq_entries)
		cq_entries = 2 * entries;
	if (cq_entries > 2 * URING_EPOLL_ENTRIES_MOST)
		cq_entries = 2 * URING_EPOLL_ENTRIES_MOST;
	cq_entries = uring_epoll_power_of_two(cq_entries);
	if (cq_entries < entries)
		return -EINVAL;
	ret = uring_epoll_allocate(ring, entries, cq_entries);
	if (ret < 0)
		return ret;
	ret = uring_result(epoll_create1(EPOLL_CLOEXEC));
	if (ret < 0) {
		uring_epoll_release(ring);
		return ret;
	}
	ring->ring_fd = ring->enter_ring_fd = ret;
	/* The driver behaves as a kernel with these flags and features does. The loop
	 * uses IOSQE_CQE_SKIP_SUCCESS where SUBMIT_ALL is granted. */
	ring->flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
	ring->features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	return 0;
}

/* Drop all armed requests. Registrations are not removed one by one: a forked child
 * shares the epoll set with its parent. */
static inline void uring_epoll_queue_exit(struct io_uring *ring)
{
	close(ring->ring_fd);
	ring->ring_fd = ring->enter_ring_fd = -1;
	uring_epoll_release(ring);
}

/* ---- enter ---------------------------------------------------------------------- */

static inline int64_t uring_epoll_ns(const struct __kernel_timespec *ts)
{
	if (ts->tv_sec > URING_EPOLL_SECONDS_MOST)
		return URING_EPOLL_SECONDS_MOST * 1000000000;
	return ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static inline int uring_epoll_milliseconds(int64_t limit_ns)
{
	/* Round up: a sleep that ends before the timer is due would be repeated until
	 * it is. */
	int64_t limit_ms = limit_ns < 0 ? -1 : (limit_ns + 999999) / 1000000;

	return limit_ms > INT_MAX ? INT_MAX : (int)limit_ms;
}

/* epoll_wait() with a limit in nanoseconds; negative: no limit. */
static inline int uring_epoll_look(struct io_uring *ring, struct epoll_event *events,
				   int64_t limit_ns)
{
	struct __kernel_timespec ts;
	int ret;

	if (limit_ns > 0 && !ring->epoll->only_milliseconds) {
		ts.tv_sec = limit_ns / 1000000000;
		ts.tv_nsec = limit_ns % 1000000000;
		ret = uring_result(syscall(URING_SYS_EPOLL_PWAIT2, ring->ring_fd,
					   events, URING_EPOLL_BATCH, &ts, NULL, 0));
		if (ret != -ENOSYS && ret != -EPERM)
			return ret;
		ring->epoll->only_milliseconds = true;
	}
	return uring_result(epoll_wait(ring->ring_fd, events, URING_EPOLL_BATCH,
				       uring_epoll_milliseconds(limit_ns)));
}

/* The index of the event to serve first: the descriptor for which the last batch had no
 * room, so that the events before it cannot fill the completion queue each time. */
static inline int uring_epoll_first(struct uring_epoll *ep,
				    const struct epoll_event *events, int count)
{
	int fd = ep->turned_away;

	ep->turned_away = -1;
	for (int i = 0; fd >= 0 && i < count; i++)
		if ((int)(uint32_t)events[i].data.u64 == fd)
			return i;
	return 0;
}

/* Sleep until `min_complete` completions are posted. Ready requests are carried out,
 * also when no sleep is needed. Returns 0, -ETIME or -EINTR. */
static inline int uring_epoll_wait(struct io_uring *ring, unsigned min_complete,
				   const struct __kernel_timespec *ts)
{
	struct epoll_event events[URING_EPOLL_BATCH];
	int64_t limit = ts ? uring_epoll_ns(ts) : -1, until = 0;
	int count, first;

	uring_epoll_drop_ready(ring->epoll);
	if (io_uring_cq_ready(ring) >= min_complete || ring->epoll->ready_first)
		limit = 0;
	if (limit > 0)
		until = uring_now_ns() + limit;
	for (;;) {
		count = uring_epoll_look(ring, events, limit);
		if (count < 0)
			return count;
		first = uring_epoll_first(ring->epoll, events, count);
		for (int i = 0; i < count; i++)
			uring_epoll_serve(ring, &events[(first + i) % count],
					  limit != 0);
		/* If the set cannot be rebuilt (no descriptor, no memory), the dead
		 * registration would end the next sleep at once: return, as after a
		 * signal. */
		if (ring->epoll->rebuild_due && uring_epoll_rebuild(ring) < 0)
			return 0;
		uring_epoll_notify(ring);
		if (io_uring_cq_ready(ring) >= min_complete || ring->epoll->ready_first)
			return 0;
		if (count == 0 || limit == 0)
			return -ETIME;
		/* Too few completions were posted: sleep for the remaining time. */
		if (limit > 0)
			limit = until - uring_now_ns();
		if (limit <= 0 && until)
			return -ETIME;
	}
}

/* io_uring_enter() of this driver: the number of entries consumed; if none, 0 or
 * -errno. */
static inline int uring_epoll_enter(struct io_uring *ring, unsigned min_complete,
				    unsigned flags, const struct __kernel_timespec *ts)
{
	int taken = uring_epoll_take_all(ring), ret;

	if (!(flags & IORING_ENTER_GETEVENTS) || io_uring_sq_ready(ring))
		return taken;
	uring_epoll_flush_overflow(ring);
	if (min_complete > ring->cq.ring_entries)
		min_complete = ring->cq.ring_entries;
	ret = uring_epoll_wait(ring, min_complete, ts);
	/* As the kernel: an error is returned only if no entry was consumed and no
	 * completion waits. */
	if (taken || io_uring_cq_ready(ring))
		return taken;
	return ret;
}

/* ---- register ------------------------------------------------------------------- */

static inline int uring_epoll_probe(struct io_uring_probe *probe, unsigned nr)
{
	if (nr > URING_EPOLL_LAST_OP + 1)
		nr = URING_EPOLL_LAST_OP + 1;
	probe->last_op = URING_EPOLL_LAST_OP;
	probe->ops_len = (uint8_t)nr;
	for (unsigned i = 0; i < nr; i++) {
		probe->ops[i].op = (uint8_t)i;
		probe->ops[i].flags = uring_epoll_knows(i) ? IO_URING_OP_SUPPORTED : 0;
	}
	return 0;
}

/* io_uring_register() of this driver. EVENTFD is not supported: a host polls the epoll
 * set itself. */
static inline int uring_epoll_register(struct io_uring *ring, unsigned opcode,
				       void *arg, unsigned nr_args)
{
	struct io_uring_buf_reg *reg = (struct io_uring_buf_reg *)arg;

	if (opcode == IORING_REGISTER_PROBE)
		return uring_epoll_probe((struct io_uring_probe *)arg, nr_args);
	/* Any thread may enter, one at a time, so there is no thread to bind. */
	if (opcode == IORING_REGISTER_ENABLE_RINGS)
		return 0;
	if (opcode == IORING_REGISTER_PBUF_RING)
		return uring_epoll_add_group(ring->epoll, reg);
	if (opcode == IORING_UNREGISTER_PBUF_RING)
		return uring_epoll_remove_group(ring->epoll, reg->bgid);
	return -EINVAL;
}

#endif
