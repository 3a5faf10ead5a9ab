/* SPDX-License-Identifier: MIT
 *
 * Receives of the epoll driver: provided buffers, and recv(2) or recvmsg(2) into them.
 *
 * Layout and results are those of the kernel's multishot receives.
 */
#ifndef URING_EPOLL_RECEIVE_H
#define URING_EPOLL_RECEIVE_H

#include <sys/socket.h>

#include "uring_epoll_complete.h"
#include "uring_system.h"

/* Receives per event: a stream that fills its buffers must not starve the others. */
#define URING_EPOLL_RECEIVES_MOST 4

/* ---- provided buffers ----------------------------------------------------------- */

static inline struct uring_epoll_group *uring_epoll_group_of(struct uring_epoll *ep,
							     unsigned id)
{
	for (unsigned i = 0; i < ep->groups_count; i++)
		if (ep->groups[i].id == id)
			return &ep->groups[i];
	return NULL;
}

static inline int uring_epoll_add_group(struct uring_epoll *ep,
					const struct io_uring_buf_reg *reg)
{
	struct uring_epoll_group *group;
	void *more;

	if (!reg->ring_entries || reg->ring_entries > 32768 ||
	    (reg->ring_entries & (reg->ring_entries - 1)) || reg->flags)
		return -EINVAL;
	if (!reg->ring_addr)
		return -EFAULT;
	if (uring_epoll_group_of(ep, reg->bgid))
		return -EEXIST;
	more = realloc(ep->groups, (ep->groups_count + 1) * sizeof(*ep->groups));
	if (!more)
		return -ENOMEM;
	ep->groups = (struct uring_epoll_group *)more;
	group = &ep->groups[ep->groups_count++];
	group->ring = (struct io_uring_buf_ring *)(uintptr_t)reg->ring_addr;
	group->mask = (uint16_t)(reg->ring_entries - 1);
	group->head = 0;
	group->id = reg->bgid;
	return 0;
}

static inline int uring_epoll_remove_group(struct uring_epoll *ep, unsigned id)
{
	struct uring_epoll_group *group = uring_epoll_group_of(ep, id);

	if (!group)
		return -ENOENT;
	*group = ep->groups[--ep->groups_count];
	return 0;
}

/* The next free buffer, or NULL if all are in use. */
static inline const struct io_uring_buf *
uring_epoll_next_buffer(const struct uring_epoll_group *group)
{
	const struct io_uring_buf *bufs = (const struct io_uring_buf *)group->ring;

	/* Acquire: the buffer is read only after the tail that covers it. */
	if (group->head == __atomic_load_n(&group->ring->tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &bufs[group->head & group->mask];
}

/* ---- system calls --------------------------------------------------------------- */

/* The result of one receive. */
struct uring_epoll_received {
	int res;
	uint32_t flags;
	/* The socket may hold more: the buffer was filled, or this was one message. */
	bool more;
	/* This completion ends a multishot request. */
	bool last;
};

/* The layout is header, name, control data, payload. Name and control data occupy the
 * space that the request's msghdr reserved, used or not. Returns the bytes written or
 * -errno. */
static inline int uring_epoll_receive_message(struct uring_epoll_request *request,
					      char *memory, size_t size,
					      struct uring_epoll_received *out)
{
	struct io_uring_recvmsg_out header;
	struct msghdr message;
	struct iovec payload;
	size_t before = sizeof(header) + request->name_bytes;
	int ret;

	if (size < before + request->control_bytes)
		return -EFAULT;
	memset(&message, 0, sizeof(message));
	if (request->name_bytes)
		message.msg_name = memory + sizeof(header);
	message.msg_namelen = request->name_bytes;
	if (request->control_bytes)
		message.msg_control = memory + before;
	message.msg_controllen = request->control_bytes;
	before += request->control_bytes;
	payload.iov_base = memory + before;
	payload.iov_len = size - before;
	message.msg_iov = &payload;
	message.msg_iovlen = 1;
	ret = uring_result(recvmsg(request->fd, &message,
				   (int)(request->msg_flags | MSG_DONTWAIT)));
	if (ret < 0)
		return ret;
	header.namelen = request->name_bytes ? message.msg_namelen : 0;
	header.controllen = (uint32_t)message.msg_controllen;
	header.payloadlen = (uint32_t)ret;
	header.flags = (uint32_t)message.msg_flags;
	memcpy(memory, &header, sizeof(header));
	/* If the request has MSG_TRUNC, `ret` is the full length of the datagram. */
	if ((size_t)ret > payload.iov_len)
		ret = (int)payload.iov_len;
	/* As the kernel, which takes an empty message for the end of a stream. */
	out->last = ret == 0;
	return ret + (int)before;
}

/* One receive into the next provided buffer, which stays free if nothing arrives. */
static inline void uring_epoll_receive_once(struct uring_epoll *ep,
					    struct uring_epoll_request *request,
					    struct uring_epoll_received *out)
{
	struct uring_epoll_group *group = uring_epoll_group_of(ep, request->buf_group);
	const struct io_uring_buf *buffer =
		group ? uring_epoll_next_buffer(group) : NULL;
	char *memory;
	size_t size;

	out->flags = 0;
	out->more = out->last = false;
	if (!buffer) {
		out->res = -ENOBUFS;
		return;
	}
	memory = (char *)(uintptr_t)buffer->addr;
	size = buffer->len;
	if (request->len && request->len < size)
		size = request->len;
	if (request->opcode == IORING_OP_RECVMSG) {
		out->res = uring_epoll_receive_message(request, memory, size, out);
		out->more = true;
	} else {
		out->res = uring_result(recv(request->fd, memory, size,
					     (int)(request->msg_flags | MSG_DONTWAIT)));
		out->more = (size_t)out->res == size;
	}
	if (out->res <= 0)
		return;
	out->flags = IORING_CQE_F_BUFFER |
		     (uint32_t)buffer->bid << IORING_CQE_BUFFER_SHIFT;
	group->head++;
}

/* ---- requests ------------------------------------------------------------------- */

static inline bool uring_epoll_nothing_there(int res)
{
	return res == -EAGAIN || res == -EINTR;
}

/* Receive into provided buffers. False if the socket was empty. The caller has checked
 * that the completion queue has room for one completion; when the queue is full, the
 * rest of the data stays in the socket. */
static inline bool uring_epoll_receive_provided(struct io_uring *ring,
						struct uring_epoll_request *request)
{
	struct uring_epoll *ep = ring->epoll;
	struct uring_epoll_received got;
	uint64_t user_data = request->user_data;

	for (int i = 0; i < URING_EPOLL_RECEIVES_MOST; i++) {
		uring_epoll_receive_once(ep, request, &got);
		/* After at least one receive, a missing buffer is no error: the next
		 * event tells whether the socket has more data. */
		if (uring_epoll_nothing_there(got.res) || (i && got.res == -ENOBUFS))
			return i > 0;
		if (got.res <= 0 || got.last || !request->multishot) {
			uring_epoll_end_request(ep, request);
			uring_epoll_post(ring, user_data, got.res, got.flags);
			return true;
		}
		uring_epoll_post(ring, user_data, got.res,
				 got.flags | IORING_CQE_F_MORE);
		if (!got.more || !uring_epoll_has_room(ring))
			return true;
	}
	return true;
}

/* One receive into the buffer of the request's owner. */
static inline int uring_epoll_receive_single(const struct uring_epoll_request *request)
{
	int flags = (int)(request->msg_flags | MSG_DONTWAIT);
	void *memory = (void *)(uintptr_t)request->addr;

	if (request->opcode == IORING_OP_RECVMSG)
		return uring_result(recvmsg(request->fd, (struct msghdr *)memory,
					    flags));
	return uring_result(recv(request->fd, memory, request->len, flags));
}

#endif
