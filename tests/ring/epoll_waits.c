/* SPDX-License-Identifier: MIT
 *
 * Promises of the epoll driver about system calls, sleeps and full queues.
 */
#include "driver_kit.h"

static void forget_calls(void)
{
	memset(&calls, 0, sizeof(calls));
}

/* ---- what a message costs -------------------------------------------------------- */

TEST(a_message_costs_a_wait_and_a_receive)
{
	int ends[2];

	start(8, 16);
	provide(0, 1);
	make_tcp_pair(ends);
	receive_into(1, ends[0], 0);
	put(ends[1], "hello");
	hear(1);
	give_back(0, 0);
	forget_calls();
	for (int i = 0; i < 100; i++) {
		put(ends[1], "hello");
		CHECK(sleep_ms(1, 5000) == 0);
		hear(1);
		give_back(0, 0);
	}
	CHECK(calls.waits == 100 && calls.receives == 100);
	CHECK(calls.controls == 0 && calls.allocations == 0);
}

TEST(a_poll_that_is_armed_again_costs_a_wait)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect(1, POLLIN);
	forget_calls();
	for (int i = 0; i < 100; i++) {
		PREPARE(1, poll_add, ends[0], POLLIN);
		expect(1, POLLIN);
	}
	CHECK(calls.waits == 100 && calls.controls == 0 && calls.allocations == 0);
	/* An iteration in which it is not armed may pass. */
	for (int i = 0; i < 100; i++) {
		quiet();
		PREPARE(1, poll_add, ends[0], POLLIN);
		expect(1, POLLIN);
	}
	CHECK(calls.controls == 0);
}

TEST(a_busy_ring_does_not_allocate)
{
	int ends[2];

	start(128, 256);
	make_pair(SOCK_STREAM, ends);
	for (int round = 0; round < 20; round++) {
		if (round == 2)
			forget_calls();
		for (int i = 0; i < 100; i++)
			PREPARE(i, poll_add, ends[0], POLLIN);
		CHECK(io_uring_submit(&ring) == 100);
		for (int i = 0; i < 100; i++)
			PREPARE(1000, cancel64, i, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
		hear(100);
	}
	CHECK(calls.allocations == 0);
	/* A bucket for each that waits, so that a cancel does not search. */
	CHECK(ring.epoll->buckets_count >= 100);
}

/* ---- sleeps ---------------------------------------------------------------------- */

TEST(without_epoll_pwait2_timeouts_are_rounded_up)
{
	const int errors[] = { ENOSYS, EPERM };
	struct __kernel_timespec short_one = { 0, 1 };
	int64_t before;

	for (int i = 0; i < 2; i++) {
		start(8, 16);
		fail_pwait2 = errors[i];
		CHECK(sleep_ms(1, 0) == -ETIME);
		CHECK(!ring.epoll->only_milliseconds);
		before = uring_now_ns();
		CHECK(uring_submit_and_wait(&ring, 1, &short_one) == -ETIME);
		CHECK(uring_now_ns() - before >= 1000000);
		CHECK(ring.epoll->only_milliseconds);
		/* For good: it is not tried again. */
		forget_calls();
		CHECK(sleep_ms(1, 1) == -ETIME && calls.waits == 1);
		io_uring_queue_exit(&ring);
	}
	CHECK(uring_epoll_milliseconds(INT64_MAX - 999999) == INT_MAX);
}

TEST(too_few_completions_sleep_for_the_rest)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(1, poll_add, ends[0], POLLIN);
	forget_calls();
	CHECK(sleep_ms(2, 30) == 1);
	CHECK(calls.waits >= 2 && calls.limit_ns > 0 && calls.limit_ns < 30000000);
	expect(1, POLLIN);
}

TEST(endless_timeouts_do_not_overflow)
{
	struct __kernel_timespec longest = { INT64_MAX, 999999999 };
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(1, poll_add, ends[0], POLLIN);
	CHECK(uring_submit_and_wait(&ring, 1, &longest) == 1);
	expect(1, POLLIN);
}

/* An error queue is no data, and yet epoll goes on reporting it. */
TEST(an_error_that_receives_do_not_take_is_no_spin)
{
	struct sockaddr_in address, nobody;
	int on = 1, closed = bound_socket(SOCK_DGRAM, &nobody);
	int fd = bound_socket(SOCK_DGRAM, &address);
	int peer = bound_socket(SOCK_DGRAM, &address);
	char room[256];
	struct msghdr message = { .msg_control = room, .msg_controllen = sizeof(room) };
	struct uring_sleep spinning = { .mark = URING_SPINNING, .fd = -1 };

	close(closed);
	start(8, 16);
	provide(0, 4);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0);
	CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&nobody, sizeof(nobody)) == 1);
	receive_into(1, fd, 0);
	expect(1, -ECONNREFUSED);
	receive_into(1, fd, 0);
	CHECK(io_uring_submit(&ring) == 1);
	forget_calls();
	CHECK(sleep_ms(1, 50) == -ETIME);
	CHECK(calls.waits <= 6);
	/* What comes is heard all the same, piece by piece, also while spinning. */
	CHECK(connect(peer, (struct sockaddr *)&nobody, sizeof(nobody)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address,
			  &(socklen_t){ sizeof(address) }) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(sendto(peer, "y", 1, 0, (struct sockaddr *)&address,
			     sizeof(address)) == 1);
		CHECK(sendto(peer, "yz", 2, 0, (struct sockaddr *)&address,
			     sizeof(address)) == 2);
		CHECK(uring_spin(&ring, &spinning, INT64_MAX));
		expect(1, 1);
		CHECK(uring_spin(&ring, &spinning, INT64_MAX));
		expect(1, 2);
		give_back(0, 0);
		give_back(0, 1);
		CHECK(sleep_ms(1, 20) == -ETIME);
	}
	/* A poll hears of the error whatever has been reported before. */
	PREPARE(2, poll_add, fd, POLLIN);
	expect(2, POLLERR);
	CHECK(recvmsg(fd, &message, MSG_ERRQUEUE) >= 0);
}

TEST(what_other_readers_take_is_no_completion)
{
	int ends[2], copy;

	start(8, 16);
	provide(0, 2);
	make_pair(SOCK_STREAM, ends);
	copy = dup(ends[0]);
	receive_into(1, ends[0], 0);
	/* Two reports in one batch: the first request takes what the second wanted. */
	receive_into(2, copy, 0);
	CHECK(io_uring_submit(&ring) == 2);
	put(ends[1], "x");
	hear(1);
	give_back(0, 0);
	CHECK(sleep_ms(1, 20) == -ETIME);
	CHECK(calls.receives >= 2);
	put(ends[1], "y");
	hear(1);
}

TEST(a_blocking_read_is_not_tried_on_what_was_taken)
{
	int event = eventfd(0, 0);
	uint64_t counters[2] = { 0, 0 };

	start(8, 16);
	PREPARE(1, read, event, &counters[0], sizeof(*counters), 0);
	PREPARE(2, read, event, &counters[1], sizeof(*counters), 0);
	quiet();
	CHECK(eventfd_write(event, 5) == 0);
	expect(1, 8);
	quiet();
	CHECK(eventfd_write(event, 6) == 0);
	expect(2, 8);
	CHECK(counters[0] == 5 && counters[1] == 6);
}

TEST(more_descriptors_than_one_batch)
{
	struct rlimit limit = { 2048, 2048 };
	static int ends[600][2];

	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	start(1024, 2048);
	for (int i = 0; i < 600; i++) {
		make_pair(SOCK_STREAM, ends[i]);
		put(ends[i][1], "x");
		PREPARE(i, poll_add, ends[i][0], POLLIN);
	}
	CHECK(sleep_ms(600, 1000 * DEADLINE_SECONDS) == 600);
	CHECK(io_uring_cq_ready(&ring) == 600);
}

/* ---- need_wait and the busy poll ------------------------------------------------- */

TEST(need_wait_while_anything_waits)
{
	int ends[2], file = fileno(tmpfile());

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	CHECK(!uring_need_wait(&ring));
	PREPARE(1, poll_add, ends[0], POLLIN);
	CHECK(uring_need_wait(&ring));
	quiet();
	CHECK(uring_need_wait(&ring));
	PREPARE(2, cancel64, 1, 0);
	hear(2);
	CHECK(!uring_need_wait(&ring));
	PREPARE(3, poll_add, file, POLLIN);
	hear(1);
	CHECK(!uring_need_wait(&ring));
}

TEST(busy_poll)
{
	int ends[2];
	struct uring_sleep spinning = { .mark = URING_SPINNING, .fd = -1 };
	struct uring_sleep woken = { .mark = URING_AWAKE, .fd = -1 };

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	CHECK(uring_spin(&ring, &spinning, 0));
	quiet();
	CHECK(!uring_spin(&ring, &spinning, 0));
	CHECK(!uring_spin(&ring, &spinning, uring_now_ns() + 1000000));
	CHECK(uring_spin(&ring, &woken, INT64_MAX));
	put(ends[1], "x");
	/* Nothing is used up by looking. */
	CHECK(uring_spin(&ring, &spinning, INT64_MAX));
	CHECK(uring_spin(&ring, &spinning, INT64_MAX));
	expect(1, POLLIN);
}

/* ---- full queues ----------------------------------------------------------------- */

TEST(a_full_queue_leaves_data_in_the_socket)
{
	int ends[2];
	char byte[2] = "a";

	start(4, 4);
	provide(0, BUFFERS);
	make_pair(SOCK_DGRAM, ends);
	receive_into(1, ends[0], 0);
	PREPARE(2, nop);
	PREPARE(3, nop);
	PREPARE(4, nop);
	CHECK(io_uring_submit(&ring) == 4);
	for (; *byte < 'g'; ++*byte)
		put(ends[1], byte);
	for (int i = 0; i < 4; i++)
		CHECK(io_uring_submit_and_get_events(&ring) == 0);
	CHECK(io_uring_cq_ready(&ring) == 4 && !io_uring_cq_has_overflow(&ring));
	hear(4);
	for (int i = 1; i < 6; i++) {
		struct io_uring_cqe cqe = hear(1);

		CHECK(cqe.flags & IORING_CQE_F_MORE);
		CHECK(memory[0][cqe.flags >> IORING_CQE_BUFFER_SHIFT][0] == 'a' + i);
		give_back(0, (int)(cqe.flags >> IORING_CQE_BUFFER_SHIFT));
	}
}

TEST(a_full_queue_ends_the_receives_of_one_enter)
{
	char bytes[3 * BUFFER_BYTES] = { 0 };
	int ends[2];

	start(4, 4);
	provide(0, BUFFERS);
	make_pair(SOCK_STREAM, ends);
	CHECK(send(ends[1], bytes, sizeof(bytes), 0) == sizeof(bytes));
	PREPARE(2, nop);
	PREPARE(3, nop);
	PREPARE(4, nop);
	receive_into(1, ends[0], 0);
	CHECK(io_uring_submit_and_get_events(&ring) == 4);
	CHECK(io_uring_cq_ready(&ring) == 4 && !io_uring_cq_has_overflow(&ring));
	hear(6);
}

TEST(the_last_buffer_is_filled_and_nothing_is_left)
{
	char bytes[BUFFER_BYTES] = { 0 };
	int ends[2];

	start(4, 4);
	provide(0, 1);
	make_pair(SOCK_STREAM, ends);
	CHECK(send(ends[1], bytes, sizeof(bytes), 0) == sizeof(bytes));
	receive_into(1, ends[0], 0);
	CHECK(hear(1).flags & IORING_CQE_F_MORE);
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	CHECK(io_uring_cq_ready(&ring) == 0);
	give_back(0, 0);
	put(ends[1], "x");
	expect(1, 1);
}

TEST(overflow_keeps_its_order_while_it_grows)
{
	struct io_uring_cqe cqe;
	uint64_t next = 0;

	start(8, 8);
	for (uint64_t i = 0; i < 1000; i++) {
		PREPARE(i, nop);
		CHECK(io_uring_submit(&ring) == 1);
		/* It grows, and then others come as fast as they go. */
		if (i % 3 == 0 || i > 100) {
			CHECK(io_uring_submit_and_get_events(&ring) == 0);
			CHECK(uring_pop(&ring, &cqe) && cqe.user_data == next++);
		}
	}
	while (next < 1000) {
		CHECK(io_uring_submit_and_get_events(&ring) == 0);
		while (uring_pop(&ring, &cqe))
			CHECK(cqe.user_data == next++);
	}
	CHECK(!io_uring_cq_has_overflow(&ring));
}
