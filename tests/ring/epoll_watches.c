/* SPDX-License-Identifier: MIT
 *
 * Promises of the epoll driver about watches: readiness that the caller wants to know.
 */
#include "driver_kit.h"

#define NOTIFIER 99

static struct epoll_event told[16];

static void begin(void)
{
	start(8, 16);
	PREPARE(NOTIFIER, poll_multishot, ring.ring_fd, POLLIN);
	CHECK(io_uring_submit(&ring) == 1);
}

/* The next enter says that `count` watches are ready; they are in `told` then. */
static void expect_told(int count)
{
	struct io_uring_cqe cqe = hear(1);

	CHECK(cqe.user_data == NOTIFIER && cqe.res == POLLIN);
	CHECK(cqe.flags == IORING_CQE_F_MORE);
	CHECK(uring_take_ready(&ring, told, 16, false) == count);
}

static void expect_told_one(int fd, uint32_t events)
{
	expect_told(1);
	CHECK(told[0].data.u64 == (uint64_t)fd && told[0].events == events);
}

/* Nothing is told, and the thread sleeps. */
static void expect_sleep(void)
{
	unsigned waits;

	CHECK(io_uring_submit(&ring) >= 0);
	waits = calls.waits;
	CHECK(sleep_ms(1, 30) == -ETIME);
	CHECK(calls.waits - waits <= 4);
}

static void watch(int fd, uint32_t events)
{
	CHECK(uring_watch(&ring, EPOLL_CTL_ADD, fd, events) == 0);
}

static void take_byte(int fd)
{
	CHECK(recv(fd, memory, 1, 0) == 1);
}

/* ---- reports --------------------------------------------------------------------- */

TEST(a_report_costs_one_wait)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLIN);
	expect_sleep();
	memset(&calls, 0, sizeof(calls));
	for (int i = 0; i < 100; i++) {
		put(ends[1], "x");
		expect_told_one(ends[0], EPOLLIN);
		take_byte(ends[0]);
	}
	CHECK(calls.waits == 100);
	CHECK(calls.controls == 0 && calls.allocations == 0);
	expect_sleep();
}

TEST(what_stays_ready_is_told_by_each_enter)
{
	int ends[2], others[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	make_pair(SOCK_STREAM, others);
	watch(ends[0], EPOLLIN | EPOLLOUT);
	watch(others[0], EPOLLIN);
	for (int i = 0; i < 3; i++)
		expect_told_one(ends[0], EPOLLOUT);
	put(others[1], "x");
	for (int i = 0; i < 3; i++)
		expect_told(2);
	CHECK(close(others[1]) == 0);
	take_byte(others[0]);
	CHECK(uring_watch(&ring, EPOLL_CTL_DEL, ends[0], 0) == 0);
	expect_told_one(others[0], EPOLLIN | EPOLLHUP);
}

TEST(what_is_not_taken_is_looked_at_again)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLIN);
	put(ends[1], "x");
	CHECK(sleep_ms(1, 5000) == 0);
	/* Also without the completion: the list is a reason not to sleep. */
	CHECK(sleep_ms(2, 5000) == 0);
	take_byte(ends[0]);
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	expect_told(0);
	expect_sleep();
}

TEST(a_watch_that_has_ended_is_told_nothing)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLIN);
	put(ends[1], "x");
	CHECK(sleep_ms(1, 5000) == 0);
	CHECK(uring_watch(&ring, EPOLL_CTL_DEL, ends[0], 0) == 0);
	/* Nor its successor, of what came before. */
	watch(ends[0], EPOLLIN);
	expect_told(0);
	expect_told_one(ends[0], EPOLLIN);
}

TEST(room_for_fewer_than_are_ready)
{
	int ends[2], others[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	make_pair(SOCK_STREAM, others);
	watch(ends[0], EPOLLOUT);
	watch(others[0], EPOLLOUT);
	hear(1);
	CHECK(uring_take_ready(&ring, told, 1, false) == 1);
	CHECK(uring_take_ready(&ring, told + 1, 1, false) == 1);
	CHECK(told[0].data.u64 != told[1].data.u64);
	CHECK(uring_take_ready(&ring, told, 1, false) == 0);
}

TEST(a_full_queue_tells_later)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLOUT);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 8; i++)
			PREPARE(i, nop);
		CHECK(io_uring_submit(&ring) == 8);
	}
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	CHECK(io_uring_cq_ready(&ring) == 16 && !io_uring_cq_has_overflow(&ring));
	hear(16);
	expect_told_one(ends[0], EPOLLOUT);
}

TEST(who_comes_back_is_not_told)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLIN);
	put(ends[1], "x");
	hear(1);
	for (int i = 0; i < 3; i++) {
		CHECK(uring_take_ready(&ring, told, 16, true) == 1);
		quiet();
	}
	take_byte(ends[0]);
	CHECK(uring_take_ready(&ring, told, 16, true) == 1);
	quiet();
	/* There was nothing: told again from here on. */
	CHECK(uring_take_ready(&ring, told, 16, true) == 0);
	put(ends[1], "x");
	expect_told_one(ends[0], EPOLLIN);
}

TEST(who_is_told)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_multishot, ends[0], POLLIN);
	expect(1, -EINVAL);
	watch(ends[0], EPOLLOUT);
	PREPARE(2, cancel64, NOTIFIER, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(NOTIFIER, -ECANCELED);
	/* Nobody: the enter returns all the same. */
	CHECK(sleep_ms(1, 5000) == 0 && io_uring_cq_ready(&ring) == 0);
	PREPARE(NOTIFIER, poll_multishot, ring.ring_fd, POLLIN);
	expect_told_one(ends[0], EPOLLOUT);
}

TEST(after_the_exit)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLOUT);
	CHECK(sleep_ms(1, 5000) == 0);
	io_uring_queue_exit(&ring);
	CHECK(uring_watch(&ring, EPOLL_CTL_MOD, ends[0], EPOLLOUT) == -EBADF);
	CHECK(!uring_watch_again(&ring, ends[0], 0));
	CHECK(uring_take_ready(&ring, told, 16, false) == 0);
}

/* ---- one registration for watches and requests ----------------------------------- */

TEST(a_watch_beside_a_receive)
{
	int ends[2];

	begin();
	provide(0, 4);
	make_tcp_pair(ends);
	receive_into(1, ends[0], 0);
	CHECK(io_uring_submit(&ring) == 1);
	watch(ends[0], EPOLLOUT);
	expect_told_one(ends[0], EPOLLOUT);
	put(ends[1], "one");
	hear(2);
	/* The end of one leaves the other, in both orders. */
	CHECK(uring_watch(&ring, EPOLL_CTL_DEL, ends[0], 0) == 0);
	CHECK(uring_take_ready(&ring, told, 16, false) == 0);
	expect_sleep();
	put(ends[1], "two");
	expect(1, 3);
	watch(ends[0], EPOLLIN);
	PREPARE(2, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(1, -ECANCELED);
	uring_forget_fd(&ring, ends[0]);
	expect_sleep();
	put(ends[1], "x");
	expect_told_one(ends[0], EPOLLIN);
}

TEST(a_watch_has_the_level_where_a_receive_has_none)
{
	struct sockaddr_in address, nobody;
	int on = 1, closed = bound_socket(SOCK_DGRAM, &nobody);
	int fd = bound_socket(SOCK_DGRAM, &address);

	close(closed);
	begin();
	provide(0, 4);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0);
	CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&nobody, sizeof(nobody)) == 1);
	receive_into(1, fd, 0);
	expect(1, -ECONNREFUSED);
	/* The error queue is not read: the receive finds nothing each time. */
	receive_into(1, fd, 0);
	CHECK(io_uring_submit(&ring) == 1);
	watch(fd, EPOLLIN);
	for (int i = 0; i < 5; i++)
		expect_told_one(fd, EPOLLERR);
}

TEST(a_report_that_is_the_only_one)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	watch(ends[0], EPOLLOUT | EPOLLONESHOT);
	CHECK(sleep_ms(1, 5000) == 0);
	/* Kept over the next enters: epoll does not say it twice. */
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	expect_told_one(ends[0], EPOLLOUT);
	CHECK(uring_watch_again(&ring, ends[0], 0));
	expect_sleep();
	/* The registration becomes the next user's by one epoll_ctl(). */
	calls.controls = 0;
	uring_forget_fd(&ring, ends[0]);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	CHECK(calls.controls == 1);
	put(ends[1], "x");
	expect(1, POLLIN);
}

/* ---- what stays registered ------------------------------------------------------- */

TEST(a_watch_that_comes_back_costs_no_control)
{
	int ends[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	CHECK(!uring_watch_again(&ring, ends[0], EPOLLIN));
	watch(ends[0], EPOLLIN);
	calls.controls = 0;
	for (int i = 0; i < 10; i++) {
		put(ends[1], "x");
		expect_told_one(ends[0], EPOLLIN);
		CHECK(uring_watch_again(&ring, ends[0], 0));
		/* An iteration without the watch may pass. */
		quiet();
		take_byte(ends[0]);
		CHECK(uring_watch_again(&ring, ends[0], EPOLLIN));
	}
	CHECK(calls.controls == 0);
	CHECK(!uring_watch_again(&ring, ends[0], EPOLLIN | EPOLLOUT));
	put(ends[1], "x");
	CHECK(uring_watch_again(&ring, ends[0], 0));
	expect_sleep();
	CHECK(calls.controls == 1);
	CHECK(!uring_watch_again(&ring, ends[0], EPOLLIN));
}

/* ---- numbers --------------------------------------------------------------------- */

TEST(what_cannot_be_watched)
{
	int file = open("/proc/self/exe", O_RDONLY), ends[2];

	begin();
	CHECK(uring_watch(&ring, EPOLL_CTL_ADD, file, EPOLLIN) == -EPERM);
	for (int how = EPOLL_CTL_ADD; how <= EPOLL_CTL_MOD; how++) {
		CHECK(uring_watch(&ring, how, -1, EPOLLIN) == -EBADF);
		CHECK(uring_watch(&ring, how, INT_MAX, EPOLLIN) == -EBADF);
	}
	CHECK(ring.epoll->descriptors_count <= 64);
	make_pair(SOCK_STREAM, ends);
	CHECK(uring_watch(&ring, EPOLL_CTL_MOD, ends[0], EPOLLOUT) == -ENOENT);
	expect_sleep();
	close(ends[0]);
	CHECK(uring_watch(&ring, EPOLL_CTL_ADD, ends[0], EPOLLOUT) == -EBADF);
	CHECK(uring_watch(&ring, EPOLL_CTL_DEL, ends[0], 0) == -EBADF);
	calls.allocations = 0;
	fail_allocation = 1;
	CHECK(uring_watch(&ring, EPOLL_CTL_ADD, 63, EPOLLIN) == -ENOMEM);
	CHECK(uring_watch(&ring, EPOLL_CTL_ADD, 63, EPOLLIN) == -EBADF);
}

TEST(a_number_that_is_reused_behind_a_watch)
{
	int ends[2], others[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	make_pair(SOCK_STREAM, others);
	watch(ends[0], EPOLLIN);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	CHECK(dup2(others[0], ends[0]) == ends[0]);
	put(others[1], "x");
	expect_sleep();
	watch(ends[0], EPOLLIN);
	/* The request was for the file that was closed. */
	expect_told_one(ends[0], EPOLLIN);
	expect_told_one(ends[0], EPOLLIN);
	PREPARE(2, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	hear(2);
	CHECK(uring_take_ready(&ring, told, 16, false) == 1);
	CHECK(dup2(others[1], ends[0]) == ends[0]);
	CHECK(uring_watch(&ring, EPOLL_CTL_MOD, ends[0], EPOLLIN) == -ENOENT);
	expect_sleep();
}

TEST(the_new_set_has_the_watches)
{
	int ends[2], others[2], connecting[2], over[2];

	begin();
	make_pair(SOCK_STREAM, ends);
	make_pair(SOCK_STREAM, others);
	make_pair(SOCK_STREAM, connecting);
	make_pair(SOCK_STREAM, over);
	watch(others[0], EPOLLIN);
	watch(connecting[0], EPOLLIN | EPOLLONESHOT);
	watch(over[0], EPOLLOUT | EPOLLONESHOT);
	expect_told_one(over[0], EPOLLOUT);
	watch(ends[0], EPOLLIN);
	CHECK(dup(ends[0]) >= 0);
	close(ends[0]);
	CHECK(uring_watch(&ring, EPOLL_CTL_DEL, ends[0], 0) == -EBADF);
	put(ends[1], "x");
	expect_sleep();
	expect_sleep();
	put(others[1], "x");
	expect_told_one(others[0], EPOLLIN);
	take_byte(others[0]);
	put(connecting[1], "x");
	expect_told_one(connecting[0], EPOLLIN);
	expect_sleep();
}
