/* SPDX-License-Identifier: MIT
 *
 * The mechanics of one io_uring ring: set-up, the two queues, system calls.
 *
 * The vocabulary is liburing's, the code is not: everything is static inline, so
 * that no library is needed to build or to run, and Debian 12's liburing (2.3),
 * which writes into the ring header under NO_SQARRAY, is out of the picture.
 * C knows the kernel here and nothing of Python. Results are -errno; errno itself
 * is never a result.
 *
 * Two queues live in memory shared with the kernel. Each has one writer per index:
 *
 *   submission queue   we write the tail, the kernel the head
 *   completion queue   the kernel writes the tail, we write the head
 *
 * An index is published with a store-release after the entries that it covers, and
 * read with a load-acquire before them; nothing else needs ordering, since the ring
 * is used by one thread (IORING_SETUP_SINGLE_ISSUER) and never with SQPOLL.
 */
#ifndef URING_H
#define URING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring_abi.h"
#include "uring_prep.h"

struct io_uring_sq {
	unsigned *khead;
	unsigned *ktail;
	unsigned *kflags;
	unsigned ring_mask;
	unsigned ring_entries;
	struct io_uring_sqe *sqes;
	/* Entries handed out, not yet published: [*ktail, sqe_tail). */
	unsigned sqe_tail;
};

struct io_uring_cq {
	unsigned *khead;
	unsigned *ktail;
	unsigned ring_mask;
	unsigned ring_entries;
	struct io_uring_cqe *cqes;
};

struct io_uring {
	struct io_uring_sq sq;
	struct io_uring_cq cq;
	void *ring_ptr;
	size_t ring_sz;
	size_t sqes_sz;
	unsigned flags;
	unsigned features;
	int ring_fd;
	int enter_ring_fd;
	bool registered_ring;
};

/* ---- system calls ------------------------------------------------------------- */

static inline int uring_result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

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
	/* Entry i always stands in slot i: written once, the array needs no care. */
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
	/* A forked child that wrote a tail would submit in its parent's name. */
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

/* Make a ring. `p` holds the flags wanted and gets what the kernel answered.
 * -ENOSYS also stands for a kernel before 5.11, which cannot wait with a timeout. */
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

/* Give everything back. The kernel ends what is in flight later, by itself. */
static inline void io_uring_queue_exit(struct io_uring *ring)
{
	munmap(ring->sq.sqes, ring->sqes_sz);
	munmap(ring->ring_ptr, ring->ring_sz);
	close(ring->ring_fd);
	ring->ring_fd = ring->enter_ring_fd = -1;
}

/* ---- submission ----------------------------------------------------------------- */

/* Entries handed out by io_uring_get_sqe() that the kernel has not consumed. */
static inline unsigned io_uring_sq_ready(const struct io_uring *ring)
{
	/* Acquire: a slot is written again only after the kernel has read it. */
	return ring->sq.sqe_tail - __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);
}

/* The next free entry, or NULL when the queue is full: enter, then ask again. */
static inline struct io_uring_sqe *io_uring_get_sqe(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;

	if (io_uring_sq_ready(ring) == sq->ring_entries)
		return NULL;
	return &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
}

/* Publish what was handed out; returns how many entries wait for an enter. */
static inline unsigned io_uring_flush_sq(struct io_uring *ring)
{
	/* Release: the kernel must see the entries before the tail that covers them. */
	__atomic_store_n(ring->sq.ktail, ring->sq.sqe_tail, __ATOMIC_RELEASE);
	return io_uring_sq_ready(ring);
}

/* Submit without looking at completions. */
static inline int io_uring_submit(struct io_uring *ring)
{
	unsigned flags = ring->registered_ring ? IORING_ENTER_REGISTERED_RING : 0;

	return io_uring_enter2(ring->enter_ring_fd, io_uring_flush_sq(ring), 0, flags,
			       NULL, 0);
}

/* Submit, and post the completions that are due (DEFER_TASKRUN posts none without
 * GETEVENTS); never sleeps. */
static inline int io_uring_submit_and_get_events(struct io_uring *ring)
{
	unsigned flags = IORING_ENTER_GETEVENTS;

	if (ring->registered_ring)
		flags |= IORING_ENTER_REGISTERED_RING;
	return io_uring_enter2(ring->enter_ring_fd, io_uring_flush_sq(ring), 0, flags,
			       NULL, 0);
}

/* Submit, then sleep until `wait_nr` completions are there or `ts` is over (NULL:
 * no limit). -ETIME and -EINTR come back only if nothing was submitted. */
static inline int uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr,
					struct __kernel_timespec *ts)
{
	struct io_uring_getevents_arg arg = { .ts = (uint64_t)(uintptr_t)ts };
	unsigned flags = IORING_ENTER_GETEVENTS;

	if (ring->registered_ring)
		flags |= IORING_ENTER_REGISTERED_RING;
	if (!ts)
		return io_uring_enter2(ring->enter_ring_fd, io_uring_flush_sq(ring),
				       wait_nr, flags, NULL, 0);
	return io_uring_enter2(ring->enter_ring_fd, io_uring_flush_sq(ring), wait_nr,
			       flags | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* ---- completion ----------------------------------------------------------------- */

static inline unsigned io_uring_cq_ready(const struct io_uring *ring)
{
	return __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE) - *ring->cq.khead;
}

/* Completions wait outside a full queue; an enter with GETEVENTS moves them in. */
static inline bool io_uring_cq_has_overflow(const struct io_uring *ring)
{
	return __atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) &
	       IORING_SQ_CQ_OVERFLOW;
}

/* Pop one completion. The slot is freed before the caller acts on the copy, so that
 * what the caller then prepares cannot meet a queue that looks fuller than it is. */
static inline bool uring_pop(struct io_uring *ring, struct io_uring_cqe *out)
{
	unsigned head = *ring->cq.khead;

	/* Acquire: the entry is read only after the tail that covers it. */
	if (head == __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE))
		return false;
	*out = ring->cq.cqes[head & ring->cq.ring_mask];
	/* Release: the kernel may overwrite the slot once it sees the new head. */
	__atomic_store_n(ring->cq.khead, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Copy the completion `place` slots behind the next one, and leave it in the queue. */
static inline void uring_peek(const struct io_uring *ring, unsigned place,
			      struct io_uring_cqe *out)
{
	*out = ring->cq.cqes[(*ring->cq.khead + place) & ring->cq.ring_mask];
}

/* Is the last completion of this request among those that wait to be popped? */
static inline bool uring_has_ended(const struct io_uring *ring, uint64_t user_data)
{
	unsigned head = *ring->cq.khead;
	/* Acquire: the entries are read only after the tail that covers them. */
	unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
	const struct io_uring_cqe *cqe;

	for (; head != tail; head++) {
		cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
		if (cqe->user_data == user_data && !(cqe->flags & IORING_CQE_F_MORE))
			return true;
	}
	return false;
}

/* Would an enter find work? Completions to reap, deferred work that only an enter
 * runs (TASKRUN), completions parked outside a full queue (OVERFLOW), or entries not
 * yet submitted. Costs two loads; QEMU's fdmon_io_uring_need_wait() is the model.
 * A look at the queue alone would miss all that DEFER_TASKRUN and COOP_TASKRUN hold
 * back. */
static inline bool uring_need_wait(const struct io_uring *ring)
{
	const unsigned held = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	return io_uring_cq_ready(ring) ||
	       (__atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) & held) ||
	       io_uring_sq_ready(ring);
}

/* ---- registration --------------------------------------------------------------- */

static inline int io_uring_enable_rings(struct io_uring *ring)
{
	return io_uring_register(ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static inline int io_uring_register_probe(struct io_uring *ring,
					  struct io_uring_probe *p, unsigned nr)
{
	return io_uring_register(ring->ring_fd, IORING_REGISTER_PROBE, p, nr);
}

static inline int io_uring_register_eventfd(struct io_uring *ring, int event_fd)
{
	return io_uring_register(ring->ring_fd, IORING_REGISTER_EVENTFD, &event_fd, 1);
}

static inline int io_uring_unregister_eventfd(struct io_uring *ring)
{
	return io_uring_register(ring->ring_fd, IORING_UNREGISTER_EVENTFD, NULL, 0);
}

static inline int io_uring_register_restrictions(struct io_uring *ring,
						 struct io_uring_restriction *res,
						 unsigned nr)
{
	return io_uring_register(ring->ring_fd, IORING_REGISTER_RESTRICTIONS, res, nr);
}

/* Name the ring by an index of this task instead of a descriptor. The index keeps
 * the ring alive after close(): unregister first. Returns 1. */
static inline int io_uring_register_ring_fd(struct io_uring *ring)
{
	struct io_uring_rsrc_update up = {
		.offset = (uint32_t)-1,
		.data = (uint64_t)ring->ring_fd,
	};
	int ret = io_uring_register(ring->ring_fd, IORING_REGISTER_RING_FDS, &up, 1);

	if (ret == 1) {
		ring->enter_ring_fd = (int)up.offset;
		ring->registered_ring = true;
	}
	return ret;
}

static inline int io_uring_unregister_ring_fd(struct io_uring *ring)
{
	struct io_uring_rsrc_update up = { .offset = (uint32_t)ring->enter_ring_fd };
	int ret = io_uring_register(ring->ring_fd, IORING_UNREGISTER_RING_FDS, &up, 1);

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
	return io_uring_register(ring->ring_fd, IORING_REGISTER_PBUF_RING, reg, 1);
}

static inline int io_uring_unregister_buf_ring(struct io_uring *ring, int bgid)
{
	struct io_uring_buf_reg reg = { .bgid = (uint16_t)bgid };

	return io_uring_register(ring->ring_fd, IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

static inline int io_uring_buf_ring_mask(uint32_t ring_entries)
{
	return (int)ring_entries - 1;
}

/* Put a buffer behind the tail; the kernel sees it after the next advance. */
static inline void io_uring_buf_ring_add(struct io_uring_buf_ring *br, void *addr,
					 unsigned len, unsigned short bid, int mask,
					 int buf_offset)
{
	struct io_uring_buf *buf = (struct io_uring_buf *)br +
				   ((br->tail + buf_offset) & mask);

	/* Not a struct assignment: `resv` of the first entry is the ring's tail. */
	buf->addr = (uint64_t)(uintptr_t)addr;
	buf->len = len;
	buf->bid = bid;
}

static inline void io_uring_buf_ring_advance(struct io_uring_buf_ring *br, int count)
{
	/* Release: the kernel must see the buffers before the tail that covers them. */
	__atomic_store_n(&br->tail, (unsigned short)(br->tail + count),
			 __ATOMIC_RELEASE);
}

#endif
