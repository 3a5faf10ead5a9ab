/* SPDX-License-Identifier: MIT
 *
 * The io_uring ABI: the kernel's constants and structures, under its own names.
 *
 * <linux/io_uring.h> of the build host is never included: it is old or missing where
 * wheels are built, and the loop probes the running kernel. tests/ring/test_abi.py
 * compares every line with liburing's copy. A comment beside a newer flag names the
 * first kernel that has it.
 */
#ifndef URING_ABI_H
#define URING_ABI_H

#include <stdint.h>

#define URING_SYS_SETUP    425
#define URING_SYS_ENTER    426
#define URING_SYS_REGISTER 427

/* The same numbers on all 64-bit architectures except alpha, for which there are no
 * wheels. */
struct __kernel_timespec {
	int64_t   tv_sec;
	long long tv_nsec;
};

struct io_uring_sqe {
	uint8_t  opcode;
	uint8_t  flags;
	uint16_t ioprio;
	int32_t  fd;
	union {
		uint64_t off;
		uint64_t addr2;
	};
	union {
		uint64_t addr;
		uint64_t splice_off_in;
	};
	uint32_t len;
	union {
		uint32_t rw_flags;
		uint32_t fsync_flags;
		uint16_t poll_events;
		uint32_t poll32_events;
		uint32_t msg_flags;
		uint32_t timeout_flags;
		uint32_t accept_flags;
		uint32_t cancel_flags;
		uint32_t open_flags;
		uint32_t statx_flags;
		uint32_t splice_flags;
		uint32_t rename_flags;
		uint32_t unlink_flags;
		uint32_t hardlink_flags;
	};
	uint64_t user_data;
	union {
		uint16_t buf_index;
		uint16_t buf_group;
	} __attribute__((packed));
	uint16_t personality;
	union {
		int32_t  splice_fd_in;
		uint32_t file_index;
	};
	uint64_t addr3;
	uint64_t __pad2[1];
};

struct io_uring_cqe {
	uint64_t user_data;
	int32_t  res;
	uint32_t flags;
};

struct io_sqring_offsets {
	uint32_t head;
	uint32_t tail;
	uint32_t ring_mask;
	uint32_t ring_entries;
	uint32_t flags;
	uint32_t dropped;
	uint32_t array;
	uint32_t resv1;
	uint64_t user_addr;
};

struct io_cqring_offsets {
	uint32_t head;
	uint32_t tail;
	uint32_t ring_mask;
	uint32_t ring_entries;
	uint32_t overflow;
	uint32_t cqes;
	uint32_t flags;
	uint32_t resv1;
	uint64_t user_addr;
};

struct io_uring_params {
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t flags;
	uint32_t sq_thread_cpu;
	uint32_t sq_thread_idle;
	uint32_t features;
	uint32_t wq_fd;
	uint32_t resv[3];
	struct io_sqring_offsets sq_off;
	struct io_cqring_offsets cq_off;
};

struct io_uring_getevents_arg {
	uint64_t sigmask;
	uint32_t sigmask_sz;
	uint32_t pad;
	uint64_t ts;
};

struct io_uring_probe_op {
	uint8_t  op;
	uint8_t  resv;
	uint16_t flags;
	uint32_t resv2;
};

struct io_uring_probe {
	uint8_t  last_op;
	uint8_t  ops_len;
	uint16_t resv;
	uint32_t resv2[3];
	struct io_uring_probe_op ops[];
};

struct io_uring_restriction {
	uint16_t opcode;
	union {
		uint8_t register_op;
		uint8_t sqe_op;
		uint8_t sqe_flags;
	};
	uint8_t  resv;
	uint32_t resv2[3];
};

struct io_uring_rsrc_update {
	uint32_t offset;
	uint32_t resv;
	uint64_t data;
};

struct io_uring_buf {
	uint64_t addr;
	uint32_t len;
	uint16_t bid;
	uint16_t resv;
};

/* The tail lies in the unused last field of the first entry. The kernel also
 * names the entries `bufs`, a flexible array; here they are reached by a cast. */
struct io_uring_buf_ring {
	uint64_t resv1;
	uint32_t resv2;
	uint16_t resv3;
	uint16_t tail;
};

struct io_uring_buf_reg {
	uint64_t ring_addr;
	uint32_t ring_entries;
	uint16_t bgid;
	uint16_t flags;
	uint64_t resv[3];
};

/* The header that a multishot recvmsg writes to the buffer. Name, control data and
 * payload follow; the first two occupy the space that the request's msghdr reserved. */
struct io_uring_recvmsg_out {
	uint32_t namelen;
	uint32_t controllen;
	uint32_t payloadlen;
	uint32_t flags;
};

/* io_uring_setup(): params.flags */
#define IORING_SETUP_CQSIZE        (1U << 3)
#define IORING_SETUP_CLAMP         (1U << 4)
#define IORING_SETUP_R_DISABLED    (1U << 6)
#define IORING_SETUP_SUBMIT_ALL    (1U << 7)	/* 5.18 */
#define IORING_SETUP_COOP_TASKRUN  (1U << 8)	/* 5.19 */
#define IORING_SETUP_TASKRUN_FLAG  (1U << 9)	/* 5.19 */
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)	/* 6.0 */
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)	/* 6.1 */
#define IORING_SETUP_NO_SQARRAY    (1U << 16)	/* 6.6 */

/* io_uring_setup(): params.features */
#define IORING_FEAT_SINGLE_MMAP (1U << 0)
#define IORING_FEAT_NODROP      (1U << 1)
#define IORING_FEAT_FAST_POLL   (1U << 5)
#define IORING_FEAT_EXT_ARG     (1U << 8)	/* 5.11 */

/* mmap() offsets of the parts of a ring. */
#define IORING_OFF_SQ_RING 0ULL
#define IORING_OFF_SQES    0x10000000ULL

/* The flags word in the SQ ring, written by the kernel. */
#define IORING_SQ_CQ_OVERFLOW (1U << 1)
#define IORING_SQ_TASKRUN     (1U << 2)	/* 5.19 */

/* io_uring_enter() */
#define IORING_ENTER_GETEVENTS       (1U << 0)
#define IORING_ENTER_EXT_ARG         (1U << 3)
#define IORING_ENTER_REGISTERED_RING (1U << 4)

/* io_uring_register() */
#define IORING_REGISTER_EVENTFD       4
#define IORING_UNREGISTER_EVENTFD     5
#define IORING_REGISTER_PROBE         8
#define IORING_REGISTER_RESTRICTIONS  11
#define IORING_REGISTER_ENABLE_RINGS  12
#define IORING_REGISTER_RING_FDS      20
#define IORING_UNREGISTER_RING_FDS    21
#define IORING_REGISTER_PBUF_RING     22	/* 5.19 */
#define IORING_UNREGISTER_PBUF_RING   23

#define IO_URING_OP_SUPPORTED (1U << 0)

#define IORING_RESTRICTION_REGISTER_OP        0
#define IORING_RESTRICTION_SQE_OP             1
#define IORING_RESTRICTION_SQE_FLAGS_ALLOWED  2
#define IORING_RESTRICTION_SQE_FLAGS_REQUIRED 3

/* sqe->opcode: the operations that the loop uses. */
#define IORING_OP_NOP          0
#define IORING_OP_FSYNC        3
#define IORING_OP_POLL_ADD     6
#define IORING_OP_RECVMSG      10
#define IORING_OP_ACCEPT       13
#define IORING_OP_ASYNC_CANCEL 14
#define IORING_OP_FALLOCATE    17
#define IORING_OP_OPENAT       18
#define IORING_OP_CLOSE        19
#define IORING_OP_STATX        21
#define IORING_OP_READ         22
#define IORING_OP_WRITE        23
#define IORING_OP_RECV         27
#define IORING_OP_RENAMEAT     35	/* 5.11 */
#define IORING_OP_UNLINKAT     36	/* 5.11 */
#define IORING_OP_MKDIRAT      37	/* 5.15 */
#define IORING_OP_SYMLINKAT    38	/* 5.15 */
#define IORING_OP_LINKAT       39	/* 5.15 */
#define IORING_OP_FTRUNCATE    55	/* 6.9 */

/* sqe->flags */
#define IOSQE_BUFFER_SELECT    (1U << 5)
#define IOSQE_CQE_SKIP_SUCCESS (1U << 6)	/* 5.17 */

/* sqe->fsync_flags */
#define IORING_FSYNC_DATASYNC (1U << 0)

/* sqe->ioprio of recv and accept */
#define IORING_POLL_ADD_MULTI   (1U << 0)	/* 5.13 */
#define IORING_RECV_MULTISHOT   (1U << 1)	/* 6.0 */
#define IORING_ACCEPT_MULTISHOT (1U << 0)	/* 5.19 */

/* cqe->flags */
#define IORING_CQE_F_BUFFER  (1U << 0)
#define IORING_CQE_F_MORE    (1U << 1)
#define IORING_CQE_BUFFER_SHIFT 16

#endif
