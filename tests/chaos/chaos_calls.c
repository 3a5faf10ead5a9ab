/* SPDX-License-Identifier: MIT
 *
 * Faults of system calls: short transfers, EAGAIN, EINTR, missing resources, resets.
 */
#include "chaos_calls.h"

#undef recv
#undef recvmsg
#undef send
#undef sendmsg
#undef sendto
#undef read
#undef write
#undef accept4
#undef getsockopt

struct uring_chaos_source uring_chaos;
_Thread_local bool chaos_on_edge;

static bool chaos_is_stream(int fd)
{
	int kind = 0;
	socklen_t size = sizeof(kind);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 &&
	       kind == SOCK_STREAM;
}

static bool chaos_fails(enum uring_chaos_kind kind, unsigned per_mille, int error)
{
	if (!chaos_now(&uring_chaos, kind, per_mille))
		return false;
	errno = error;
	return true;
}

/* A size from 1 to `size`; most are small. */
static size_t chaos_shorter(enum uring_chaos_kind kind, size_t size)
{
	uint64_t number = chaos_number(&uring_chaos, kind);
	size_t most = number & 1 ? size : size / 16 + 1;

	return size ? (size_t)((number >> 1) % most) + 1 : 0;
}

/* As after a reset by the peer: nothing more can be read or written. */
static ssize_t chaos_reset(int fd)
{
	char rest[65536];

	shutdown(fd, SHUT_RDWR);
	while (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		continue;
	errno = ECONNRESET;
	return -1;
}

/* ---- reading -------------------------------------------------------------------- */

static bool chaos_read_fails(void)
{
	return !chaos_on_edge && (chaos_fails(CHAOS_READ_AGAIN, 30, EAGAIN) ||
				  chaos_fails(CHAOS_INTERRUPTED, 30, EINTR));
}

ssize_t uring_chaos_recv(int fd, void *memory, size_t size, int flags)
{
	if (chaos_read_fails())
		return -1;
	if (chaos_is_stream(fd)) {
		if (chaos_now(&uring_chaos, CHAOS_RESET, 1))
			return chaos_reset(fd);
		if (size > 1 && chaos_now(&uring_chaos, CHAOS_SHORT_READ, 200))
			size = chaos_shorter(CHAOS_SHORT_READ, size);
	}
	return recv(fd, memory, size, flags);
}

ssize_t uring_chaos_recvmsg(int fd, struct msghdr *message, int flags)
{
	if (chaos_read_fails())
		return -1;
	if (message->msg_iovlen > 1 && chaos_is_stream(fd) &&
	    chaos_now(&uring_chaos, CHAOS_SHORT_READ, 200)) {
		struct iovec *parts = message->msg_iov;

		return recv(fd, parts->iov_base,
			    chaos_shorter(CHAOS_SHORT_READ, parts->iov_len), flags);
	}
	return recvmsg(fd, message, flags);
}

ssize_t uring_chaos_read(int fd, void *memory, size_t size)
{
	if ((chaos_is_socket(fd) || chaos_is_pipe(fd)) && chaos_read_fails())
		return -1;
	if (size > 1 && chaos_is_pipe(fd) &&
	    chaos_now(&uring_chaos, CHAOS_SHORT_READ, 200))
		size = chaos_shorter(CHAOS_SHORT_READ, size);
	return read(fd, memory, size);
}

/* ---- writing -------------------------------------------------------------------- */

static bool chaos_write_fails(void)
{
	return chaos_fails(CHAOS_WRITE_AGAIN, 50, EAGAIN) ||
	       chaos_fails(CHAOS_INTERRUPTED, 30, EINTR);
}

ssize_t uring_chaos_send(int fd, const void *memory, size_t size, int flags)
{
	if (chaos_write_fails())
		return -1;
	if (chaos_is_stream(fd)) {
		if (chaos_now(&uring_chaos, CHAOS_RESET, 1))
			return chaos_reset(fd);
		if (size > 1 && chaos_now(&uring_chaos, CHAOS_SHORT_WRITE, 200))
			size = chaos_shorter(CHAOS_SHORT_WRITE, size);
	} else if (chaos_fails(CHAOS_DATAGRAM_RESOURCES, 10, ENOBUFS)) {
		return -1;
	}
	return send(fd, memory, size, flags);
}

ssize_t uring_chaos_sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct iovec *parts = message->msg_iov;

	if (chaos_write_fails())
		return -1;
	if (message->msg_iovlen && parts->iov_len && chaos_is_stream(fd) &&
	    chaos_now(&uring_chaos, CHAOS_SHORT_WRITE, 300))
		return send(fd, parts->iov_base,
			    chaos_shorter(CHAOS_SHORT_WRITE, parts->iov_len), flags);
	return sendmsg(fd, message, flags);
}

ssize_t uring_chaos_sendto(int fd, const void *memory, size_t size, int flags,
			   const struct sockaddr *address, socklen_t address_size)
{
	if (chaos_write_fails() ||
	    chaos_fails(CHAOS_DATAGRAM_RESOURCES, 10, ENOBUFS))
		return -1;
	return sendto(fd, memory, size, flags, address, address_size);
}

ssize_t uring_chaos_write(int fd, const void *memory, size_t size)
{
	/* Not the eventfd, which is always ready for a write. */
	if (chaos_is_pipe(fd)) {
		if (chaos_write_fails())
			return -1;
		if (size > 1 && chaos_now(&uring_chaos, CHAOS_SHORT_WRITE, 200))
			size = chaos_shorter(CHAOS_SHORT_WRITE, size);
	}
	return write(fd, memory, size);
}

/* ---- connections ---------------------------------------------------------------- */

int uring_chaos_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	static const int missing[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };
	uint64_t which = chaos_number(&uring_chaos, CHAOS_ACCEPT_RESOURCES);
	int made;

	if (chaos_fails(CHAOS_ACCEPT_AGAIN, 100, EAGAIN) ||
	    chaos_fails(CHAOS_INTERRUPTED, 30, EINTR) ||
	    chaos_fails(CHAOS_ACCEPT_RESOURCES, 30, missing[which % 4]))
		return -1;
	made = accept4(fd, address, size, flags);
	if (made >= 0 && chaos_now(&uring_chaos, CHAOS_ACCEPT_ABORTED, 10)) {
		close(made);
		errno = ECONNABORTED;
		return -1;
	}
	return made;
}

/* SO_ERROR is the result of a connect(). */
int uring_chaos_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	static const int results[] = { ECONNREFUSED, ETIMEDOUT, ENETUNREACH, ENOBUFS };
	int ret = getsockopt(fd, level, name, value, size);

	if (ret == 0 && level == SOL_SOCKET && name == SO_ERROR &&
	    chaos_now(&uring_chaos, CHAOS_CONNECT_FAILED, 20))
		*(int *)value = results[chaos_number(&uring_chaos,
						     CHAOS_CONNECT_FAILED) % 4];
	return ret;
}
