/* SPDX-License-Identifier: MIT
 *
 * What the C tests of the two drivers share: a ring, a trace, counted system calls.
 *
 * A test is a function, TEST(name). The program is called with a driver (epoll or
 * io_uring) and the name of one; what the test hears goes to stdout, so that the
 * traces of both drivers can be compared. On epoll, a seccomp filter kills the process
 * at the first call of io_uring.
 */
#ifndef DRIVER_KIT_H
#define DRIVER_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_SECONDS 20
#define BUFFERS 4
#define BUFFER_BYTES 64
/* pytest takes it for "cannot be tested here". */
#define EXIT_SKIPPED 77

#define CHECK(fact) do {						\
	if (!(fact)) {							\
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #fact); \
		abort();						\
	}								\
} while (0)

/* ---- calls of the driver, counted and made to fail ------------------------------- */

static struct {
	unsigned controls, waits, receives, allocations;
	/* Of the last epoll_pwait2(). */
	int64_t limit_ns;
} calls;
/* The allocation with this number fails; 0: none. */
static unsigned fail_allocation;
/* What epoll_pwait2() fails with; 0: nothing. */
static int fail_pwait2;

static inline bool allocation_fails(void)
{
	return ++calls.allocations == fail_allocation;
}

static inline void *kit_malloc(size_t size)
{
	return allocation_fails() ? NULL : malloc(size);
}

static inline void *kit_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : calloc(count, size);
}

static inline void *kit_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : realloc(old, size);
}

static inline int kit_epoll_ctl(int set, int how, int fd, struct epoll_event *event)
{
	calls.controls++;
	return epoll_ctl(set, how, fd, event);
}

static inline int kit_epoll_wait(int set, struct epoll_event *events, int most, int ms)
{
	calls.waits++;
	return epoll_wait(set, events, most, ms);
}

static inline ssize_t kit_recv(int fd, void *memory, size_t size, int flags)
{
	calls.receives++;
	return recv(fd, memory, size, flags);
}

static inline bool pwait2_fails(long number, ...)
{
	const struct timespec *limit;
	va_list arguments;

	if (number != 441)
		return false;
	va_start(arguments, number);
	va_arg(arguments, int);
	va_arg(arguments, void *);
	va_arg(arguments, int);
	limit = va_arg(arguments, const struct timespec *);
	va_end(arguments);
	calls.limit_ns = (int64_t)limit->tv_sec * 1000000000 + limit->tv_nsec;
	calls.waits++;
	errno = fail_pwait2;
	return fail_pwait2;
}

#define malloc kit_malloc
#define calloc kit_calloc
#define realloc kit_realloc
#define epoll_ctl kit_epoll_ctl
#define epoll_wait kit_epoll_wait
#define recv kit_recv
#define syscall(number, ...) \
	(pwait2_fails(number, __VA_ARGS__) ? -1L : syscall(number, __VA_ARGS__))
#include "uring_parked.h"
#include "uring_spin.h"
#undef malloc
#undef calloc
#undef realloc
#undef epoll_ctl
#undef epoll_wait
#undef recv
#undef syscall

/* ---- the ring -------------------------------------------------------------------- */

static struct io_uring ring;
static bool on_epoll;
/* The kernel wants each ring of buffers to begin with a page. */
static struct {
	struct io_uring_buf entries[BUFFERS];
} __attribute__((aligned(65536))) rings[2];
static char memory[2][BUFFERS][BUFFER_BYTES] __attribute__((aligned(64)));

static inline void start(unsigned sq_entries, unsigned cq_entries)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG,
		.cq_entries = cq_entries,
	};
	int ret = on_epoll ?
		  uring_epoll_queue_init(sq_entries, cq_entries, &ring) :
		  io_uring_queue_init_params(sq_entries, &ring, &p);

	if (!on_epoll && ret < 0) {
		fprintf(stderr, "no io_uring here: %s\n", strerror(-ret));
		exit(EXIT_SKIPPED);
	}
	CHECK(ret == 0);
}

static inline struct io_uring_buf_ring *buffer_ring(int group)
{
	return (struct io_uring_buf_ring *)rings[group].entries;
}

static inline void give_back(int group, int bid)
{
	io_uring_buf_ring_add(buffer_ring(group), memory[group][bid], BUFFER_BYTES,
			      (unsigned short)bid, BUFFERS - 1, 0);
	io_uring_buf_ring_advance(buffer_ring(group), 1);
}

static inline int register_buffers(int group)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)rings[group].entries,
		.ring_entries = BUFFERS,
		.bgid = (uint16_t)group,
	};

	return io_uring_register_buf_ring(&ring, &reg, 0);
}

static inline void provide(int group, int count)
{
	CHECK(register_buffers(group) == 0);
	for (int bid = 0; bid < count; bid++)
		give_back(group, bid);
}

static inline struct io_uring_sqe *entry(uint64_t user_data,
					 const struct io_uring_sqe *filled)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	*sqe = *filled;
	sqe->user_data = user_data;
	return sqe;
}

#define PREPARE(user_data, operation, ...) __extension__ ({		\
	struct io_uring_sqe filled_;					\
	io_uring_prep_##operation(&filled_, ##__VA_ARGS__);		\
	entry(user_data, &filled_);					\
})

static inline void receive_into(uint64_t user_data, int fd, int group)
{
	struct io_uring_sqe *sqe = PREPARE(user_data, recv_multishot, fd, NULL, 0, 0);

	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)group;
}

/* ---- the trace ------------------------------------------------------------------- */

static inline void say_bytes(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)bytes)[i]);
}

static inline void say(const struct io_uring_cqe *cqe)
{
	printf("%llu: %d%s", (unsigned long long)cqe->user_data, cqe->res,
	       cqe->flags & IORING_CQE_F_MORE ? " more" : "");
	if (cqe->flags & IORING_CQE_F_BUFFER)
		printf(" buffer %u", cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	puts("");
}

/* Enter until there are `count` completions; their trace is sorted by user_data, since
 * no driver promises an order among requests. Returns the last one. */
static inline struct io_uring_cqe hear(unsigned count)
{
	struct __kernel_timespec limit = { .tv_sec = DEADLINE_SECONDS };
	struct io_uring_cqe heard[256], *cqe = heard;

	CHECK(count && count <= 256);
	while (cqe < heard + count) {
		if (!uring_pop(&ring, cqe))
			CHECK(uring_submit_and_wait(&ring, 1, &limit) >= 0);
		else
			cqe++;
	}
	/* Stable: the completions of one request keep their order. */
	for (unsigned i = 1; i < count; i++) {
		struct io_uring_cqe moved = heard[i];
		unsigned to = i;

		for (; to && heard[to - 1].user_data > moved.user_data; to--)
			heard[to] = heard[to - 1];
		heard[to] = moved;
	}
	for (unsigned i = 0; i < count; i++)
		say(&heard[i]);
	return heard[count - 1];
}

/* The next completion is this one. */
static inline void expect(uint64_t user_data, int res)
{
	struct io_uring_cqe cqe = hear(1);

	CHECK(cqe.user_data == user_data && cqe.res == res);
}

/* Enter without sleeping; nothing may be there. */
static inline void quiet(void)
{
	struct io_uring_cqe cqe;

	CHECK(io_uring_submit_and_get_events(&ring) >= 0);
	while (uring_pop(&ring, &cqe)) {
		printf("not quiet, ");
		say(&cqe);
	}
	puts("quiet");
}

/* Sleep for as long; the result of the enter. */
static inline int sleep_ms(unsigned wait_nr, long ms)
{
	struct __kernel_timespec limit = { ms / 1000, ms % 1000 * 1000000 };

	return uring_submit_and_wait(&ring, wait_nr, &limit);
}

/* ---- sockets --------------------------------------------------------------------- */

static inline void make_pair(int type, int ends[2])
{
	CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
}

static inline void put(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static inline struct sockaddr_in loopback(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

/* A socket of this type bound to a free port of the loopback. */
static inline int bound_socket(int type, struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, type, 0);

	*address = loopback();
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)address, &size) == 0);
	return fd;
}

static inline void make_tcp_pair(int ends[2])
{
	struct sockaddr_in address;
	int listener = bound_socket(SOCK_STREAM, &address);

	CHECK(listen(listener, 1) == 0);
	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(ends[1], (struct sockaddr *)&address, sizeof(address)) == 0);
	ends[0] = accept(listener, NULL, NULL);
	CHECK(ends[0] >= 0);
	close(listener);
}

/* ---- main ------------------------------------------------------------------------ */

static struct {
	const char *name;
	void (*run)(void);
} tests[64];
static unsigned tests_count;

#define TEST(test)							\
	static void test(void);						\
	__attribute__((constructor)) static void add_##test(void)	\
	{								\
		tests[tests_count].name = #test;			\
		tests[tests_count++].run = test;			\
	}								\
	static void test(void)

/* The kernel kills this process, and each child, at a call of io_uring. */
static inline void forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, URING_SYS_SETUP, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, URING_SYS_REGISTER, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(DEADLINE_SECONDS);
	on_epoll = !strcmp(argv[1], "epoll");
	if (on_epoll)
		forbid_io_uring();
	if (!strcmp(argv[2], "call_io_uring"))
		return io_uring_setup(1, NULL);
	for (unsigned i = 0; i < tests_count; i++) {
		if (strcmp(tests[i].name, argv[2]))
			continue;
		tests[i].run();
		if (ring.ring_fd > 0)
			io_uring_queue_exit(&ring);
		return 0;
	}
	fprintf(stderr, "no test %s\n", argv[2]);
	return 2;
}

#endif
