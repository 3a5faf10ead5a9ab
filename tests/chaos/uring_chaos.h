/* SPDX-License-Identifier: MIT
 *
 * The chaos driver: the epoll driver with faults, for tests only.
 *
 * The compiler includes this file before every other one (-include, see setup.py). It
 * includes the epoll driver's headers one by one, and between two of them replaces
 * functions of the lower one by those of chaos.c. So the package's own headers do not
 * know of faults, and an ordinary build has none. System calls of the compiled modules
 * are replaced by name in the same way.
 *
 * Nothing happens until uring_chaos_start(seed). Every fault is one that the kernel may
 * show: see chaos.c.
 */
#ifndef URING_CHAOS_H
#define URING_CHAOS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- system calls --------------------------------------------------------------- */

ssize_t uring_chaos_recv(int fd, void *memory, size_t size, int flags);
ssize_t uring_chaos_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t uring_chaos_send(int fd, const void *memory, size_t size, int flags);
ssize_t uring_chaos_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t uring_chaos_sendto(int fd, const void *memory, size_t size, int flags,
			   const struct sockaddr *address, socklen_t address_size);
ssize_t uring_chaos_read(int fd, void *memory, size_t size);
ssize_t uring_chaos_write(int fd, const void *memory, size_t size);
int uring_chaos_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int uring_chaos_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int uring_chaos_epoll_wait(int set, struct epoll_event *events, int most,
			   int timeout_ms);

/* Names without parameters: fields and methods of the same name are renamed wherever
 * they are used, so that they still fit each other. */
#define recv uring_chaos_recv
#define recvmsg uring_chaos_recvmsg
#define send uring_chaos_send
#define sendmsg uring_chaos_sendmsg
#define sendto uring_chaos_sendto
#define read uring_chaos_read
#define write uring_chaos_write
#define accept4 uring_chaos_accept4
#define getsockopt uring_chaos_getsockopt
#define epoll_wait uring_chaos_epoll_wait

/* ---- the driver ----------------------------------------------------------------- */

#include "uring_epoll_complete.h"

void uring_chaos_post(struct io_uring *ring, uint64_t user_data, int res,
		      uint32_t flags);
void uring_chaos_answer(struct io_uring *ring, unsigned sqe_flags, uint64_t user_data,
			int res);
void uring_chaos_flush_overflow(struct io_uring *ring);
void uring_chaos_free(struct uring_epoll *ep);

#define uring_epoll_post uring_chaos_post
#define uring_epoll_answer uring_chaos_answer
#include "uring_epoll_requests.h"

int uring_chaos_take_all(struct io_uring *ring);
void uring_chaos_serve(struct io_uring *ring, const struct epoll_event *event,
		       bool sleeps);
long uring_chaos_epoll_pwait2(long number, int set, struct epoll_event *events,
			      int most, struct __kernel_timespec *ts, void *mask,
			      size_t size);

#define uring_epoll_flush_overflow uring_chaos_flush_overflow
#define uring_epoll_free uring_chaos_free
#define uring_epoll_take_all uring_chaos_take_all
#define uring_epoll_serve uring_chaos_serve
#define syscall uring_chaos_epoll_pwait2
#include "uring_epoll.h"
#undef syscall

#endif
