/* SPDX-License-Identifier: MIT
 *
 * Restricts a disabled ring to what the loop uses of io_uring.
 *
 * The kernel answers -EACCES to every other operation, entry flag and registration,
 * from the enabling of the ring to its end; nothing lifts the restriction. So code that
 * takes over the process finds no ring that opens or renames files, makes sockets,
 * connects, sends or splices. On the epoll driver there is nothing to restrict: it
 * serves no other operations than these.
 */
#ifndef URING_RESTRICT_H
#define URING_RESTRICT_H

#include "uring.h"

#define URING_RESTRICTIONS_MOST 32

/* NOP stands in for an entry whose preparation failed; READ is the wake-up's. */
static const uint8_t uring_socket_ops[] = {
	IORING_OP_NOP,		IORING_OP_POLL_ADD, IORING_OP_RECVMSG,
	IORING_OP_ASYNC_CANCEL, IORING_OP_READ,	    IORING_OP_RECV,
};

static const uint8_t uring_file_ops[] = {
	IORING_OP_FSYNC,     IORING_OP_FALLOCATE, IORING_OP_OPENAT,
	IORING_OP_CLOSE,     IORING_OP_STATX,     IORING_OP_WRITE,
	IORING_OP_RENAMEAT,  IORING_OP_UNLINKAT,  IORING_OP_MKDIRAT,
	IORING_OP_SYMLINKAT, IORING_OP_LINKAT,    IORING_OP_FTRUNCATE,
};

/* The eventfd is a guest loop's. The last one is missing before 5.19. A kernel may also
 * check ENABLE_RINGS, which has no effect on an enabled ring. */
static const uint8_t uring_register_ops[] = {
	IORING_REGISTER_EVENTFD,
	IORING_UNREGISTER_EVENTFD,
	IORING_REGISTER_ENABLE_RINGS,
	IORING_REGISTER_PBUF_RING,
};

struct uring_restrictions {
	struct io_uring_restriction items[URING_RESTRICTIONS_MOST];
	unsigned count;
};

static inline void uring_allow(struct uring_restrictions *r, unsigned kind,
			       uint8_t value)
{
	struct io_uring_restriction *item = &r->items[r->count++];

	item->opcode = (uint16_t)kind;
	item->register_op = value;
}

/* Allow those operations that the kernel knows: it refuses a list with others. `known`
 * has a truth value for each of the 256 possible operations; afterwards it is false for
 * those that the ring refuses. */
static inline void uring_allow_ops(struct uring_restrictions *r, int *known, bool files)
{
	int allowed[256] = { 0 };

	for (size_t i = 0; i < sizeof(uring_socket_ops); i++)
		allowed[uring_socket_ops[i]] = 1;
	for (size_t i = 0; files && i < sizeof(uring_file_ops); i++)
		allowed[uring_file_ops[i]] = 1;
	for (unsigned op = 0; op < 256; op++) {
		known[op] = known[op] && allowed[op];
		if (known[op])
			uring_allow(r, IORING_RESTRICTION_SQE_OP, (uint8_t)op);
	}
}

/* Restrict the ring; 0 or -errno. */
static inline int uring_restrict(struct io_uring *ring, int *known, bool files)
{
	struct uring_restrictions r = { .count = 0 };
	int ret;

	uring_allow_ops(&r, known, files);
	uring_allow(&r, IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		    IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS);
	for (size_t i = 0; i < sizeof(uring_register_ops); i++)
		uring_allow(&r, IORING_RESTRICTION_REGISTER_OP, uring_register_ops[i]);
	ret = io_uring_register_restrictions(ring, r.items, r.count);
	if (ret == -EINVAL)
		ret = io_uring_register_restrictions(ring, r.items, r.count - 1);
	return ret;
}

#endif
