/* SPDX-License-Identifier: MIT
 *
 * Promises of the epoll driver about descriptors that are closed, reused and copied.
 *
 * Each test says what it hears by CHECK(), since io_uring has nothing to compare with:
 * there, a request holds its file.
 */
#include "driver_kit.h"

/* Nothing is ready. Long enough to look how often the thread woke: not in a spin. */
static void expect_sleep(void)
{
	unsigned waits;

	CHECK(io_uring_submit(&ring) >= 0);
	waits = calls.waits;
	CHECK(sleep_ms(1, 30) == -ETIME);
	CHECK(calls.waits - waits <= 4);
}

/* A connected socket with the number `fd`, which must be free. */
static int pair_at(int fd)
{
	int ends[2];

	make_pair(SOCK_STREAM, ends);
	if (ends[1] == fd) {
		ends[1] = ends[0];
		ends[0] = fd;
	}
	if (ends[0] != fd) {
		CHECK(dup2(ends[0], fd) == fd);
		close(ends[0]);
	}
	return ends[1];
}

static void poll_once(int ends[2])
{
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect(1, POLLIN);
}

/* ---- numbers that are reused ----------------------------------------------------- */

TEST(a_number_that_is_reused_after_forget)
{
	int ends[2], peer;

	start(8, 16);
	poll_once(ends);
	uring_forget_fd(&ring, ends[0]);
	close(ends[0]);
	peer = pair_at(ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect_sleep();
	put(peer, "y");
	expect(2, POLLIN);
}

TEST(a_number_that_is_forgotten_when_it_is_used_again)
{
	int ends[2], peer;

	start(8, 16);
	poll_once(ends);
	close(ends[0]);
	peer = pair_at(ends[0]);
	uring_forget_fd(&ring, ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect_sleep();
	put(peer, "y");
	expect(2, POLLIN);
}

/* The registration is gone, the table does not know, and MOD finds out. */
TEST(a_number_that_is_reused_behind_our_back)
{
	int ends[2], peer;

	start(8, 16);
	poll_once(ends);
	close(ends[0]);
	peer = pair_at(ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN | POLLPRI);
	expect_sleep();
	put(peer, "y");
	expect(2, POLLIN);
}

/* The same with a request that still waits for the closed file. */
TEST(a_number_that_is_reused_while_a_request_waits)
{
	int ends[2], peer;

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	close(ends[0]);
	peer = pair_at(ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN | POLLPRI);
	put(peer, "y");
	expect(2, POLLIN);
	expect_sleep();
	PREPARE(3, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(1, -ECANCELED);
	expect_sleep();
}

TEST(a_request_of_a_closed_file_is_told_apart_by_forget)
{
	int ends[2], peer;

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	/* Still the same file: the request goes on waiting. */
	uring_forget_fd(&ring, ends[0]);
	close(ends[0]);
	peer = pair_at(ends[0]);
	uring_forget_fd(&ring, ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect_sleep();
	put(peer, "y");
	expect(2, POLLIN);
	expect_sleep();
	PREPARE(3, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(1, -ECANCELED);
}

TEST(forget_leaves_requests_of_a_living_file)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	uring_forget_fd(&ring, ends[0]);
	put(ends[1], "x");
	expect(1, POLLIN);
	/* And numbers of which it has never heard. */
	uring_forget_fd(&ring, 4000);
	uring_forget_fd(&ring, -1);
	uring_forget_fd(&ring, ends[1]);
}

TEST(a_number_that_becomes_a_regular_file)
{
	FILE *file = tmpfile();
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	CHECK(dup2(fileno(file), ends[0]) == ends[0]);
	PREPARE(2, poll_add, ends[0], POLLOUT);
	expect(2, POLLOUT);
	PREPARE(3, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(1, -ECANCELED);
}

/* The file lives on in a copy, and comes back to its number: ADD says EEXIST. */
TEST(a_file_that_comes_back_to_its_number)
{
	int ends[2], copy, other;

	start(8, 16);
	poll_once(ends);
	copy = dup(ends[0]);
	other = open("/dev/null", O_RDWR);
	CHECK(dup2(other, ends[0]) == ends[0]);
	uring_forget_fd(&ring, ends[0]);
	CHECK(dup2(copy, ends[0]) == ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect(2, POLLIN);
	CHECK(recv(ends[0], memory, 1, 0) == 1);
	expect_sleep();
}

/* ---- closed descriptors whose file lives on -------------------------------------- */

TEST(a_closed_descriptor_lives_on_in_a_copy)
{
	int ends[2], others[2], copy;

	start(8, 16);
	make_pair(SOCK_STREAM, others);
	PREPARE(2, poll_add, others[0], POLLIN);
	poll_once(ends);
	copy = dup(ends[0]);
	close(ends[0]);
	/* It reports and cannot be taken out: the set is built anew. */
	expect_sleep();
	expect_sleep();
	put(others[1], "x");
	expect(2, POLLIN);
	close(copy);
}

TEST(a_closed_descriptor_of_a_request_lives_on_in_a_copy)
{
	int ends[2], copy, reused;

	start(8, 16);
	provide(0, 2);
	make_pair(SOCK_STREAM, ends);
	receive_into(1, ends[0], 0);
	expect_sleep();
	copy = dup(ends[0]);
	close(ends[0]);
	put(ends[1], "x");
	reused = pair_at(ends[0]);
	/* The number is another file's, where there is nothing to receive; the old
	 * file's data stay where they are. */
	expect_sleep();
	CHECK(recv(copy, memory, 1, 0) == 1);
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect_sleep();
	put(reused, "y");
	expect(2, POLLIN);
	PREPARE(3, cancel64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(1, -ECANCELED);
	expect_sleep();
}

TEST(a_reused_number_beside_a_living_copy)
{
	int ends[2], copy, peer;

	start(8, 16);
	poll_once(ends);
	copy = dup(ends[0]);
	CHECK(copy >= 0);
	close(ends[0]);
	peer = pair_at(ends[0]);
	uring_forget_fd(&ring, ends[0]);
	PREPARE(2, poll_add, ends[0], POLLIN);
	/* Two registrations with one number: the dead one must not take the other
	 * along, nor be heard in its place. */
	expect_sleep();
	put(peer, "y");
	expect(2, POLLIN);
	CHECK(recv(ends[0], memory, 1, 0) == 1);
	expect_sleep();
}

TEST(a_reused_number_does_not_get_into_the_new_set)
{
	int ends[2], others[2], peer;

	start(8, 16);
	make_pair(SOCK_STREAM, others);
	PREPARE(2, poll_add, others[0], POLLIN);
	poll_once(ends);
	close(others[0]);
	peer = pair_at(others[0]);
	CHECK(dup(ends[0]) >= 0);
	close(ends[0]);
	expect_sleep();
	/* The request was for the file that was closed. */
	put(peer, "x");
	expect_sleep();
	PREPARE(3, cancel64, 2, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	expect(2, -ECANCELED);
}

TEST(the_new_set_has_the_number_that_a_host_polls)
{
	int ends[2], others[2], set;
	struct pollfd host;

	start(8, 16);
	set = ring.ring_fd;
	make_pair(SOCK_STREAM, others);
	PREPARE(2, poll_add, others[0], POLLIN);
	poll_once(ends);
	CHECK(dup(ends[0]) >= 0);
	close(ends[0]);
	expect_sleep();
	CHECK(ring.ring_fd == set && fcntl(set, F_GETFD) == FD_CLOEXEC);
	host = (struct pollfd){ .fd = set, .events = POLLIN };
	CHECK(poll(&host, 1, 0) == 0);
	put(others[1], "x");
	CHECK(poll(&host, 1, -1) == 1);
	expect(2, POLLIN);
}

TEST(no_descriptor_is_left_for_a_new_set)
{
	int ends[2], others[2];
	struct rlimit limit = { 16, 16 };

	start(8, 16);
	make_pair(SOCK_STREAM, others);
	PREPARE(2, poll_add, others[0], POLLIN);
	poll_once(ends);
	CHECK(dup(ends[0]) >= 0);
	close(ends[0]);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while (dup(0) >= 0)
		;
	/* It comes back instead of spinning where no signal reaches Python. */
	CHECK(sleep_ms(1, 1000 * DEADLINE_SECONDS) == 0);
	CHECK(sleep_ms(1, 1000 * DEADLINE_SECONDS) == 0);
	put(others[1], "x");
	expect(2, POLLIN);
	close(15);
	expect_sleep();
}

TEST(a_child_keeps_a_closed_file_alive)
{
	int ends[2], hold[2];
	char byte;
	pid_t child;

	start(8, 16);
	CHECK(pipe(hold) == 0);
	poll_once(ends);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		close(hold[1]);
		/* The child's copy of the ring goes; the set is the parent's, too. */
		io_uring_queue_exit(&ring);
		_exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(ends[0]);
	expect_sleep();
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect(2, POLLIN);
	close(hold[1]);
	CHECK(waitpid(child, NULL, 0) == child);
}

TEST(an_exit_in_a_child_leaves_the_parents_registrations)
{
	int ends[2], status;
	pid_t child;

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, poll_add, ends[0], POLLIN);
	expect_sleep();
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		io_uring_queue_exit(&ring);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	put(ends[1], "x");
	expect(1, POLLIN);
}

/* ---- hang-ups and events that nobody wants --------------------------------------- */

TEST(a_hang_up_that_nobody_waits_for)
{
	struct pollfd host;
	int ends[2];

	start(8, 16);
	poll_once(ends);
	CHECK(recv(ends[0], memory, 1, 0) == 1);
	close(ends[1]);
	expect_sleep();
	/* Where the thread never sleeps it goes, too: a host would spin. */
	PREPARE(2, poll_add, ends[0], POLLOUT);
	CHECK(hear(1).res & POLLHUP);
	CHECK(io_uring_submit_and_get_events(&ring) == 0);
	host = (struct pollfd){ .fd = ring.ring_fd, .events = POLLIN };
	CHECK(poll(&host, 1, 0) == 0);
}

TEST(data_that_nobody_waits_for)
{
	struct pollfd host;
	int ends[2];

	start(8, 16);
	poll_once(ends);
	expect_sleep();
	PREPARE(2, poll_add, ends[0], POLLIN);
	expect(2, POLLIN);
	/* The first look may let it pass, the second may not. */
	quiet();
	quiet();
	host = (struct pollfd){ .fd = ring.ring_fd, .events = POLLIN };
	CHECK(poll(&host, 1, 0) == 0);
	PREPARE(3, poll_add, ends[0], POLLIN);
	expect(3, POLLIN);
}

TEST(room_that_nobody_waits_for_beside_a_receive)
{
	int ends[2];

	start(8, 16);
	provide(0, 2);
	make_pair(SOCK_STREAM, ends);
	receive_into(1, ends[0], 0);
	PREPARE(2, poll_add, ends[0], POLLOUT);
	expect(2, POLLOUT);
	expect_sleep();
	put(ends[1], "x");
	expect(1, 1);
	expect_sleep();
}

TEST(an_end_that_is_not_read_while_room_is_waited_for)
{
	int ends[2];
	char bytes[65536] = { 0 };

	start(8, 16);
	make_tcp_pair(ends);
	while (send(ends[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	PREPARE(1, poll_add, ends[0], POLLOUT);
	expect_sleep();
	CHECK(shutdown(ends[1], SHUT_WR) == 0);
	/* io_uring's poll would hear of it again and again. */
	expect_sleep();
	for (int read = 0; read < 4000000;)
		read += (int)recv(ends[1], bytes, sizeof(bytes), 0) |
			(poll(&(struct pollfd){ .fd = ends[1], .events = POLLIN }, 1,
			      100) ? 0 : 4000000);
	expect(1, POLLOUT);
}
