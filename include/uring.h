/* SPDX-License-Identifier: MIT
 *
 * A ring's driver calls: set-up, enter, register, exit.
 *
 * Each call goes to the kernel's io_uring or, on a ring made by
 * uring_epoll_queue_init(), to the epoll driver (uring_epoll.h). Callers use both in
 * the same way; the queues between callers and driver are in uring_queues.h.
 *
 * The names are liburing's, the code is not. All functions are static inline, so that
 * no library is needed to build or to run, and the bug of Debian 12's liburing (2.3),
 * which writes into the ring header under NO_SQARRAY, does not apply. The code knows
 * nothing of Python. Errors are returned as -errno, never through errno.
 */
#ifndef URING_H
#define URING_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring_abi.h"
#include "uring_epoll.h"
#include "uring_prep.h"
#include "uring_queues.h"
#include "uring_system.h"

/* ---- system calls ------------------------------------------------------------- */

static inline int io_uring_setup(unsigned entries, struct io_uring_params *p)
{
	return uring_result(syscall(URING_SYS_SETUP, entries, p));
}

static inline int io_uring_enter2(int fd, unsigned to_submit, unsigned min_complete,
				  unsigned flags, void *arg, size_t size)
{
	return uring_result(syscall(URING_SYS_ENTER, fd, to_submit, min_complete,
				    flags, arg, size));
}

static inline int io_uring_register(int fd, unsigned opcode, const void *arg,
				    unsigned nr_args)
{
	return uring_result(syscall(URING_SYS_REGISTER, fd, opcode, arg, nr_args));
}

/* ---- set-up ------------------------------------------------------------------- */

static inline void *uring_at(struct io_uring *ring, uint32_t offset)
{
	return (char *)ring->ring_ptr + offset;
}

static inline void uring_point(struct io_uring *ring, struct io_uring_params *p)
{
	unsigned *array;

	ring->sq.khead = (unsigned *)uring_at(ring, p->sq_off.head);
	ring->sq.ktail = (unsigned *)uring_at(ring, p->sq_off.tail);
	ring->sq.kflags = (unsigned *)uring_at(ring, p->sq_off.flags);
	ring->sq.ring_mask = *(unsigned *)uring_at(ring, p->sq_off.ring_mask);
	ring->sq.ring_entries = p->sq_entries;
	ring->sq.sqe_tail = *ring->sq.ktail;
	ring->cq.khead = (unsigned *)uring_at(ring, p->cq_off.head);
	ring->cq.ktail = (unsigned *)uring_at(ring, p->cq_off.tail);
	ring->cq.ring_mask = *(unsigned *)uring_at(ring, p->cq_off.ring_mask);
	ring->cq.ring_entries = p->cq_entries;
	ring->cq.cqes = (struct io_uring_cqe *)uring_at(ring, p->cq_off.cqes);
	if (p->flags & IORING_SETUP_NO_SQARRAY)
		return;
	/* Entry i is always in slot i: the array is written once. */
	array = (unsigned *)uring_at(ring, p->sq_off.array);
	for (unsigned i = 0; i < p->sq_entries; i++)
		array[i] = i;
}

static inline size_t uring_mapping_size(const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);

	if (p->flags & IORING_SETUP_NO_SQARRAY)
		sq = 0;
	return sq > cq ? sq : cq;
}

static inline int uring_map(int fd, size_t size, uint64_t offset, void **out)
{
	void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);

	if (ptr == MAP_FAILED)
		return -errno;
	/* A forked child that wrote to a tail would submit an entry for its parent. */
	if (madvise(ptr, size, MADV_DONTFORK) < 0) {
		int error = -errno;

		munmap(ptr, size);
		return error;
	}
	*out = ptr;
	return 0;
}

static inline int uring_map_queues(struct io_uring *ring, struct io_uring_params *p)
{
	void *sqes = NULL;
	int ret;

	ring->ring_sz = uring_mapping_size(p);
	ring->sqes_sz = p->sq_entries * sizeof(struct io_uring_sqe);
	ret = uring_map(ring->ring_fd, ring->ring_sz, IORING_OFF_SQ_RING,
			&ring->ring_ptr);
	if (ret < 0)
		return ret;
	ret = uring_map(ring->ring_fd, ring->sqes_sz, IORING_OFF_SQES, &sqes);
	if (ret < 0) {
		munmap(ring->ring_ptr, ring->ring_sz);
		return ret;
	}
	ring->sq.sqes = (struct io_uring_sqe *)sqes;
	uring_point(ring, p);
	return 0;
}

/* Make a ring. `p` holds the requested flags and receives the kernel's answer. -ENOSYS
 * is also returned for a kernel before 5.11, which cannot wait with a timeout. */
static inline int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
					     struct io_uring_params *p)
{
	const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
				IORING_FEAT_EXT_ARG;
	int fd, ret;

	memset(ring, 0, sizeof(*ring));
	ring->ring_fd = ring->enter_ring_fd = -1;
	fd = io_uring_setup(entries, p);
	if (fd < 0)
		return fd;
	ring->ring_fd = ring->enter_ring_fd = fd;
	ring->flags = p->flags;
	ring->features = p->features;
	ret = (p->features & needed) == needed ? uring_map_queues(ring, p) : -ENOSYS;
	if (ret < 0) {
		close(fd);
		ring->ring_fd = ring->enter_ring_fd = -1;
	}
	return ret;
}

/* Release the ring. The driver ends the requests in flight by itself. */
static inline void io_uring_queue_exit(struct io_uring *ring)
{
	if (ring->epoll) {
		uring_epoll_queue_exit(ring);
		return;
	}
	munmap(ring->sq.sqes, ring->sqes_sz);
	munmap(ring->ring_ptr, ring->ring_sz);
	close(ring->ring_fd);
	ring->ring_fd = ring->enter_ring_fd = -1;
}

/* To be called before the descriptor `fd` is closed, or when its number names a new
 * file. The epoll driver drops the registration of the old file; io_uring keeps no
 * state by number. */
static inline void uring_forget_fd(struct io_uring *ring, int fd)
{
	if (ring->epoll)
		uring_epoll_forget_fd(ring, fd);
}

/* ---- watches, on the epoll driver only: see uring_epoll_watch.h ------------------ */

/* After the ring's exit these functions find no watches. */
static inline int uring_watch(struct io_uring *ring, int how, int fd, uint32_t events)
{
	return ring->epoll ? uring_epoll_watch(ring, how, fd, events) : -EBADF;
}

static inline bool uring_watch_again(struct io_uring *ring, int fd, uint32_t events)
{
	return ring->epoll && uring_epoll_watch_again(ring->epoll, fd, events);
}

static inline int uring_take_ready(struct io_uring *ring, struct epoll_event *out,
				   int room, bool comes_back)
{
	if (!ring->epoll)
		return 0;
	return uring_epoll_take_ready(ring->epoll, out, room, comes_back);
}

/* ---- enter ---------------------------------------------------------------------- */

/* `flags` are those of io_uring_enter(); without `ts` the sleep has no limit. */
static inline int uring_enter(struct io_uring *ring, unsigned min_complete,
			      unsigned flags, struct __kernel_timespec *ts)
{
	struct io_uring_getevents_arg arg = { .ts = (uint64_t)(uintptr_t)ts };
	unsigned to_submit = io_uring_flush_sq(ring);

	if (ring->epoll)
		return uring_epoll_enter(ring, min_complete, flags, ts);
	if (ring->registered_ring)
		flags |= IORING_ENTER_REGISTERED_RING;
	if (!ts)
		return io_uring_enter2(ring->enter_ring_fd, to_submit, min_complete,
				       flags, NULL, 0);
	return io_uring_enter2(ring->enter_ring_fd, to_submit, min_complete,
			       flags | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* Submit without waiting for completions. */
static inline int io_uring_submit(struct io_uring *ring)
{
	return uring_enter(ring, 0, 0, NULL);
}

/* Submit and post the completions that are due, without sleeping. Under DEFER_TASKRUN
 * the kernel posts none without GETEVENTS. */
static inline int io_uring_submit_and_get_events(struct io_uring *ring)
{
	return uring_enter(ring, 0, IORING_ENTER_GETEVENTS, NULL);
}

/* Submit, then sleep until `wait_nr` completions are posted or `ts` has passed (NULL:
 * no limit). -ETIME and -EINTR are returned only if no entry was submitted. */
static inline int uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr,
					struct __kernel_timespec *ts)
{
	return uring_enter(ring, wait_nr, IORING_ENTER_GETEVENTS, ts);
}

/* ---- registration --------------------------------------------------------------- */

static inline int uring_register(struct io_uring *ring, unsigned opcode, void *arg,
				 unsigned nr_args)
{
	if (ring->epoll)
		return uring_epoll_register(ring, opcode, arg, nr_args);
	return io_uring_register(ring->ring_fd, opcode, arg, nr_args);
}

static inline int io_uring_enable_rings(struct io_uring *ring)
{
	return uring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static inline int io_uring_register_probe(struct io_uring *ring,
					  struct io_uring_probe *p, unsigned nr)
{
	return uring_register(ring, IORING_REGISTER_PROBE, p, nr);
}

static inline int io_uring_register_eventfd(struct io_uring *ring, int event_fd)
{
	return uring_register(ring, IORING_REGISTER_EVENTFD, &event_fd, 1);
}

static inline int io_uring_unregister_eventfd(struct io_uring *ring)
{
	return uring_register(ring, IORING_UNREGISTER_EVENTFD, NULL, 0);
}

static inline int io_uring_register_restrictions(struct io_uring *ring,
						 struct io_uring_restriction *res,
						 unsigned nr)
{
	return uring_register(ring, IORING_REGISTER_RESTRICTIONS, res, nr);
}

/* Register the ring's descriptor, so that this task names the ring by an index. The
 * index keeps the ring alive after close(): unregister it first. Returns 1. */
static inline int io_uring_register_ring_fd(struct io_uring *ring)
{
	struct io_uring_rsrc_update up = {
		.offset = (uint32_t)-1,
		.data = (uint64_t)ring->ring_fd,
	};
	int ret = uring_register(ring, IORING_REGISTER_RING_FDS, &up, 1);

	if (ret == 1) {
		ring->enter_ring_fd = (int)up.offset;
		ring->registered_ring = true;
	}
	return ret;
}

static inline int io_uring_unregister_ring_fd(struct io_uring *ring)
{
	struct io_uring_rsrc_update up = { .offset = (uint32_t)ring->enter_ring_fd };
	int ret = uring_register(ring, IORING_UNREGISTER_RING_FDS, &up, 1);

	if (ret == 1) {
		ring->enter_ring_fd = ring->ring_fd;
		ring->registered_ring = false;
	}
	return ret;
}

/* ---- provided buffers ----------------------------------------------------------- */

static inline int io_uring_register_buf_ring(struct io_uring *ring,
					     struct io_uring_buf_reg *reg,
					     unsigned flags)
{
	reg->flags = (uint16_t)flags;
	return uring_register(ring, IORING_REGISTER_PBUF_RING, reg, 1);
}

static inline int io_uring_unregister_buf_ring(struct io_uring *ring, int bgid)
{
	struct io_uring_buf_reg reg = { .bgid = (uint16_t)bgid };

	return uring_register(ring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

static inline int io_uring_buf_ring_mask(uint32_t ring_entries)
{
	return (int)ring_entries - 1;
}

/* Put a buffer behind the tail; the driver sees it after the next advance. */
static inline void io_uring_buf_ring_add(struct io_uring_buf_ring *br, void *addr,
					 unsigned len, unsigned short bid, int mask,
					 int buf_offset)
{
	struct io_uring_buf *buf = (struct io_uring_buf *)br +
				   ((br->tail + buf_offset) & mask);

	/* No struct assignment: `resv` of the first entry is the ring's tail. */
	buf->addr = (uint64_t)(uintptr_t)addr;
	buf->len = len;
	buf->bid = bid;
}

static inline void io_uring_buf_ring_advance(struct io_uring_buf_ring *br, int count)
{
	/* Release: the driver must see the buffers before the tail that covers them. */
	__atomic_store_n(&br->tail, (unsigned short)(br->tail + count),
			 __ATOMIC_RELEASE);
}

#endif
