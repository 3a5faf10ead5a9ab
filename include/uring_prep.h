/* SPDX-License-Identifier: MIT
 *
 * Fills submission queue entries: one io_uring_prep_* for each operation in use.
 *
 * Names, arguments and results are liburing's; tests/ring/test_abi.py compares the
 * bytes. All functions set user_data to 0; the owner of the operation writes it
 * afterwards.
 */
#ifndef URING_PREP_H
#define URING_PREP_H

#include <string.h>

#include "uring_abi.h"

static inline void io_uring_prep_rw(int op, struct io_uring_sqe *sqe, int fd,
				    const void *addr, unsigned len, uint64_t offset)
{
	/* Slots are reused: clear the fields of the last operation. */
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	sqe->off = offset;
	sqe->addr = (uint64_t)(uintptr_t)addr;
	sqe->len = len;
}

static inline void io_uring_sqe_set_data64(struct io_uring_sqe *sqe, uint64_t data)
{
	sqe->user_data = data;
}

static inline void io_uring_prep_nop(struct io_uring_sqe *sqe)
{
	io_uring_prep_rw(IORING_OP_NOP, sqe, -1, NULL, 0, 0);
}

/* The kernel's representation: 32 bits, whose halves are swapped on a big-endian
 * machine, since the field once had 16 bits. */
static inline uint32_t uring_poll_mask(unsigned poll_mask)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	poll_mask = (poll_mask << 16) | (poll_mask >> 16);
#endif
	return poll_mask;
}

static inline void io_uring_prep_poll_add(struct io_uring_sqe *sqe, int fd,
					  unsigned poll_mask)
{
	io_uring_prep_rw(IORING_OP_POLL_ADD, sqe, fd, NULL, 0, 0);
	sqe->poll32_events = uring_poll_mask(poll_mask);
}

static inline void io_uring_prep_poll_multishot(struct io_uring_sqe *sqe, int fd,
						unsigned poll_mask)
{
	io_uring_prep_poll_add(sqe, fd, poll_mask);
	sqe->len = IORING_POLL_ADD_MULTI;
}

/* Cancel the request with this user_data. Requests are never cancelled by descriptor:
 * the number may have been closed and reused, and the kernel would search all requests
 * in flight. */
static inline void io_uring_prep_cancel64(struct io_uring_sqe *sqe,
					  uint64_t user_data, int flags)
{
	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, NULL, 0, 0);
	sqe->addr = user_data;
	sqe->cancel_flags = (uint32_t)flags;
}

static inline void io_uring_prep_read(struct io_uring_sqe *sqe, int fd, void *buf,
				      unsigned nbytes, uint64_t offset)
{
	io_uring_prep_rw(IORING_OP_READ, sqe, fd, buf, nbytes, offset);
}

static inline void io_uring_prep_recv(struct io_uring_sqe *sqe, int sockfd,
				      void *buf, size_t len, int flags)
{
	io_uring_prep_rw(IORING_OP_RECV, sqe, sockfd, buf, (unsigned)len, 0);
	sqe->msg_flags = (uint32_t)flags;
}

static inline void io_uring_prep_recv_multishot(struct io_uring_sqe *sqe, int sockfd,
						void *buf, size_t len, int flags)
{
	io_uring_prep_recv(sqe, sockfd, buf, len, flags);
	sqe->ioprio |= IORING_RECV_MULTISHOT;
}

struct msghdr;

/* A multishot receive uses only msg_namelen and msg_controllen of `msg`. */
static inline void io_uring_prep_recvmsg_multishot(struct io_uring_sqe *sqe, int fd,
						   struct msghdr *msg, unsigned flags)
{
	io_uring_prep_rw(IORING_OP_RECVMSG, sqe, fd, msg, 1, 0);
	sqe->msg_flags = flags;
	sqe->ioprio |= IORING_RECV_MULTISHOT;
}

struct sockaddr;

static inline void io_uring_prep_accept(struct io_uring_sqe *sqe, int fd,
					struct sockaddr *addr, void *addrlen,
					int flags)
{
	io_uring_prep_rw(IORING_OP_ACCEPT, sqe, fd, addr, 0,
			 (uint64_t)(uintptr_t)addrlen);
	sqe->accept_flags = (uint32_t)flags;
}

static inline void io_uring_prep_multishot_accept(struct io_uring_sqe *sqe, int fd,
						  struct sockaddr *addr,
						  void *addrlen, int flags)
{
	io_uring_prep_accept(sqe, fd, addr, addrlen, flags);
	sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
}

#endif
