/* SPDX-License-Identifier: MIT
 *
 * More promises of both drivers: how long an enter sleeps, cancels, full queues.
 */
#include "driver_kit.h"

static void on_alarm(int number)
{
	(void)number;
}

static void interrupt_after_ms(int ms)
{
	struct itimerval timer = { .it_value = { .tv_usec = ms * 1000 } };
	struct sigaction action = { .sa_handler = on_alarm };

	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* ---- sleeps ---------------------------------------------------------------------- */

TEST(timeouts)
{
	int64_t before;

	start(8, 16);
	before = uring_now_ns();
	printf("%d\n", sleep_ms(1, 20));
	CHECK(uring_now_ns() - before >= 20000000);
	printf("%d\n", sleep_ms(1, 0));
	/* Nothing is waited for. */
	printf("%d\n", sleep_ms(0, 5000));
	/* Hidden by the entry that was taken. */
	PREPARE(1, nop)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	printf("%d\n", sleep_ms(1, 1));
	/* Hidden by the completion that is there. */
	PREPARE(2, nop);
	CHECK(io_uring_submit(&ring) == 1);
	printf("%d\n", sleep_ms(2, 1));
	hear(1);
}

TEST(signals)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	interrupt_after_ms(20);
	printf("%d\n", uring_submit_and_wait(&ring, 1, NULL));
	PREPARE(1, poll_add, ends[0], POLLIN);
	interrupt_after_ms(20);
	printf("%d\n", uring_submit_and_wait(&ring, 1, NULL));
	put(ends[1], "x");
	hear(1);
}

TEST(several_completions_are_waited_for)
{
	int ends[2];
	pid_t child;

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, nop);
	PREPARE(2, poll_add, ends[0], POLLIN);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		usleep(20000);
		put(ends[1], "x");
		_exit(0);
	}
	printf("%d\n", sleep_ms(2, 1000 * DEADLINE_SECONDS));
	printf("%u\n", io_uring_cq_ready(&ring));
	CHECK(waitpid(child, NULL, 0) == child);
	hear(2);
}

TEST(more_completions_than_can_be_are_waited_for)
{
	start(4, 4);
	for (int i = 0; i < 4; i++)
		PREPARE(i, nop);
	printf("%d\n", sleep_ms(1000, 1000 * DEADLINE_SECONDS));
	hear(4);
}

/* ---- cancels --------------------------------------------------------------------- */

TEST(cancel)
{
	int ends[2];

	start(8, 16);
	provide(0, 1);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	receive_into(2, ends[1], 0);
	quiet();
	PREPARE(10, cancel64, 1, 0);
	hear(2);
	PREPARE(11, cancel64, 2, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	hear(1);
	/* Unknown: told, even if a success would not be. */
	PREPARE(12, cancel64, 1, 0);
	PREPARE(13, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	hear(2);
	/* Nobody takes it any more. */
	put(ends[0], "x");
	quiet();
	receive_into(3, ends[1], 0);
	hear(1);
}

TEST(cancel_in_the_same_enter)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	PREPARE(2, cancel64, 1, 0);
	PREPARE(3, poll_add, ends[0], POLLIN);
	hear(2);
	quiet();
	put(ends[1], "x");
	hear(1);
}

TEST(cancel_of_one_of_two)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	PREPARE(2, poll_add, ends[0], POLLIN);
	PREPARE(3, poll_add, ends[0], POLLIN);
	quiet();
	PREPARE(4, cancel64, 2, 0);
	hear(2);
	put(ends[1], "x");
	hear(2);
}

/* ---- several requests on one descriptor ------------------------------------------ */

TEST(a_receive_and_polls_on_one_descriptor)
{
	int ends[2], size = 4096;
	char bytes[65536] = { 0 };

	start(8, 16);
	provide(0, 3);
	make_pair(SOCK_STREAM, ends);
	CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	while (send(ends[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	receive_into(1, ends[0], 0);
	PREPARE(2, poll_add, ends[0], POLLOUT);
	quiet();
	put(ends[1], "x");
	hear(1);
	quiet();
	while (recv(ends[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	hear(1);
	quiet();
	put(ends[1], "y");
	hear(1);
	PREPARE(3, poll_add, ends[0], POLLOUT);
	hear(1);
	close(ends[1]);
	hear(1);
}

TEST(many_requests)
{
	int ends[2];

	/* More than one slab, more than the first hash has buckets. */
	start(512, 1024);
	make_pair(SOCK_STREAM, ends);
	for (int i = 0; i < 500; i++)
		PREPARE(i, poll_add, ends[i % 2], POLLIN);
	quiet();
	for (int i = 0; i < 500; i += 5)
		PREPARE(1000, cancel64, i, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	hear(100);
	quiet();
	put(ends[1], "x");
	hear(200);
	put(ends[0], "x");
	hear(200);
	quiet();
}

/* ---- full queues ----------------------------------------------------------------- */

TEST(completions_outside_a_full_queue)
{
	struct io_uring_cqe cqe;

	start(4, 4);
	for (int i = 0; i < 40; i++) {
		PREPARE(i, nop);
		if (i % 4 == 3)
			CHECK(io_uring_submit(&ring) == 4);
	}
	printf("%u %d\n", io_uring_cq_ready(&ring), io_uring_cq_has_overflow(&ring));
	for (int i = 0; i < 10; i++) {
		for (int k = 0; k < 4; k++) {
			CHECK(uring_pop(&ring, &cqe));
			say(&cqe);
		}
		printf("%u %d %d\n", io_uring_cq_ready(&ring),
		       io_uring_cq_has_overflow(&ring), uring_need_wait(&ring));
		if (i == 3) {
			/* Newer ones stay behind. */
			PREPARE(100, nop);
			CHECK(io_uring_submit(&ring) == 1);
		}
		CHECK(io_uring_submit_and_get_events(&ring) >= 0);
	}
	hear(1);
	printf("%d\n", io_uring_cq_has_overflow(&ring));
}

TEST(a_full_submission_queue)
{
	start(4, 16);
	for (int i = 0; i < 4; i++)
		PREPARE(i, nop);
	printf("%d %u %d\n", io_uring_get_sqe(&ring) == NULL, io_uring_sq_ready(&ring),
	       uring_need_wait(&ring));
	printf("%d\n", io_uring_submit(&ring));
	printf("%u %d\n", io_uring_sq_ready(&ring), io_uring_get_sqe(&ring) != NULL);
	CHECK(io_uring_sq_ready(&ring) == 1);
}

TEST(the_end_of_a_request_is_found)
{
	int ends[2];

	start(8, 16);
	/* Up to Linux 6.12 the last buffer ends the request. */
	provide(0, 2);
	make_pair(SOCK_STREAM, ends);
	receive_into(7, ends[0], 0);
	put(ends[1], "x");
	CHECK(sleep_ms(1, 5000) == 1);
	printf("%d\n", uring_last_cqe(&ring, 7) != NULL);
	close(ends[1]);
	give_back(0, 0);
	CHECK(sleep_ms(2, 5000) == 0);
	printf("%d\n", uring_last_cqe(&ring, 7) != NULL);
	hear(2);
}
