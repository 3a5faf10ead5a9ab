/* SPDX-License-Identifier: MIT
 *
 * Promises of both drivers, as a trace that has to be the same on each.
 */
#include "driver_kit.h"

TEST(nop)
{
	start(8, 16);
	PREPARE(1, nop);
	PREPARE(2, nop)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	printf("taken %d\n", io_uring_submit(&ring));
	hear(1);
	quiet();
}

TEST(unknown_entries)
{
	start(8, 16);
	PREPARE(1, nop)->opcode = 255;
	PREPARE(2, poll_add, 0, POLLIN)->flags = 1U << 7;
	PREPARE(3, recv_multishot, 0, NULL, 0, 0);
	PREPARE(4, poll_add, 0, POLLIN)->ioprio = 1;
	hear(4);
}

TEST(known_operations)
{
	char room[16 + 256 * 8] = { 0 };
	struct io_uring_probe *probe = (struct io_uring_probe *)room;

	start(8, 16);
	printf("%d\n", io_uring_register_probe(&ring, probe, 256));
	CHECK(probe->ops_len > IORING_OP_RECV && probe->last_op >= IORING_OP_RECV);
	for (int op = IORING_OP_NOP; op <= IORING_OP_RECV; op++)
		if (op == IORING_OP_NOP || op == IORING_OP_POLL_ADD ||
		    op == IORING_OP_RECVMSG || op == IORING_OP_ASYNC_CANCEL ||
		    op == IORING_OP_READ || op == IORING_OP_RECV)
			printf("%d %d %u\n", op, probe->ops[op].op,
			       probe->ops[op].flags);
}

/* ---- polls ----------------------------------------------------------------------- */

TEST(poll_of_what_is_ready)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	PREPARE(1, poll_add, ends[0], POLLIN);
	PREPARE(2, poll_add, ends[0], POLLOUT);
	PREPARE(3, poll_add, ends[0], POLLIN | POLLOUT);
	PREPARE(4, poll_add, ends[1], POLLIN);
	hear(3);
	quiet();
	put(ends[0], "y");
	hear(1);
	quiet();
}

TEST(poll_again_and_again)
{
	int ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	for (int i = 0; i < 5; i++) {
		PREPARE(1, poll_add, ends[0], POLLIN);
		hear(1);
	}
	CHECK(recv(ends[0], memory, 1, 0) == 1);
	PREPARE(1, poll_add, ends[0], POLLIN);
	quiet();
	put(ends[1], "y");
	hear(1);
}

TEST(poll_hears_hang_ups)
{
	int ends[2], pipe_ends[2];

	start(8, 16);
	make_pair(SOCK_STREAM, ends);
	CHECK(pipe(pipe_ends) == 0);
	PREPARE(1, poll_add, pipe_ends[1], 0);
	PREPARE(2, poll_add, ends[0], POLLPRI);
	quiet();
	close(pipe_ends[0]);
	hear(1);
	/* A reader hears the end of a writer. */
	CHECK(pipe(pipe_ends) == 0);
	PREPARE(3, poll_add, pipe_ends[0], POLLIN);
	quiet();
	close(pipe_ends[1]);
	hear(1);
	/* All gone, and only room was asked for. */
	PREPARE(4, cancel64, 2, 0);
	hear(2);
	close(ends[1]);
	PREPARE(5, poll_add, ends[0], POLLOUT | POLLRDHUP);
	hear(1);
}

TEST(poll_of_a_regular_file)
{
	FILE *file = tmpfile();

	start(8, 16);
	PREPARE(1, poll_add, fileno(file), POLLIN);
	PREPARE(2, poll_add, fileno(file), POLLOUT | POLLPRI);
	PREPARE(3, poll_add, fileno(file), POLLPRI);
	hear(3);
	quiet();
}

/* ---- reads ----------------------------------------------------------------------- */

TEST(read_waits)
{
	int ends[2], event = eventfd(0, EFD_CLOEXEC);
	uint64_t counter = 0;

	start(8, 16);
	CHECK(pipe(ends) == 0);
	PREPARE(1, read, event, &counter, sizeof(counter), 0);
	PREPARE(2, read, ends[0], memory, sizeof(memory), 0);
	quiet();
	CHECK(eventfd_write(event, 3) == 0 && write(ends[1], "abc", 3) == 3);
	hear(2);
	printf("%llu %s\n", (unsigned long long)counter, memory[0][0]);
	PREPARE(1, read, event, &counter, sizeof(counter), 0);
	PREPARE(2, read, ends[0], memory, sizeof(memory), 0);
	quiet();
	close(ends[1]);
	hear(1);
	PREPARE(3, cancel64, 1, 0);
	hear(2);
}

TEST(read_of_a_regular_file)
{
	FILE *file = tmpfile();

	start(8, 16);
	CHECK(write(fileno(file), "0123456789", 10) == 10);
	PREPARE(1, read, fileno(file), memory[0][0], 4, 3);
	hear(1);
	printf("%s\n", memory[0][0]);
	CHECK(lseek(fileno(file), 8, SEEK_SET) == 8);
	PREPARE(2, read, fileno(file), memory[0][0], 4, (uint64_t)-1);
	PREPARE(3, read, fileno(file), memory[0][1], 4, 20);
	hear(2);
	printf("%s\n", memory[0][0]);
}

/* ---- receives -------------------------------------------------------------------- */

TEST(receive_until_the_end)
{
	int ends[2];
	struct io_uring_cqe last;

	start(8, 16);
	provide(0, 3);
	make_tcp_pair(ends);
	receive_into(1, ends[0], 0);
	quiet();
	put(ends[1], "hello");
	last = hear(1);
	printf("%s\n", memory[0][last.flags >> IORING_CQE_BUFFER_SHIFT]);
	put(ends[1], "again");
	last = hear(1);
	printf("%s\n", memory[0][last.flags >> IORING_CQE_BUFFER_SHIFT]);
	give_back(0, 0);
	close(ends[1]);
	hear(1);
	quiet();
}

TEST(receive_of_what_is_there_with_the_end)
{
	int ends[2];

	start(8, 16);
	provide(0, 2);
	make_tcp_pair(ends);
	put(ends[1], "x");
	close(ends[1]);
	receive_into(1, ends[0], 0);
	hear(2);
}

TEST(receive_without_buffers)
{
	int ends[2];

	start(8, 16);
	provide(0, 1);
	make_pair(SOCK_STREAM, ends);
	receive_into(1, ends[0], 0);
	quiet();
	put(ends[1], "first");
	hear(1);
	put(ends[1], "second");
	hear(1);
	/* Buffers alone do not bring it back. */
	give_back(0, 0);
	quiet();
	receive_into(1, ends[0], 0);
	hear(1);
	printf("%s\n", memory[0][0]);
	/* A group that nobody has registered. */
	put(ends[1], "x");
	hear(1);
	receive_into(2, ends[0], 1);
	hear(1);
	quiet();
}

TEST(receive_fills_buffers)
{
	int ends[2];
	char bytes[3 * BUFFER_BYTES];

	start(8, 16);
	provide(0, 4);
	make_pair(SOCK_STREAM, ends);
	memset(bytes, 'b', sizeof(bytes));
	CHECK(send(ends[1], bytes, sizeof(bytes), 0) == sizeof(bytes));
	receive_into(1, ends[0], 0);
	hear(3);
	quiet();
}

TEST(receive_of_a_reset)
{
	int ends[2];
	struct linger now = { .l_onoff = 1 };

	start(8, 16);
	provide(0, 2);
	make_tcp_pair(ends);
	receive_into(1, ends[0], 0);
	quiet();
	CHECK(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	close(ends[1]);
	hear(1);
	quiet();
}

TEST(receive_once)
{
	int ends[2];
	struct iovec part = { memory[0][1], 2 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct io_uring_sqe filled, *sqe;

	start(8, 16);
	provide(1, 1);
	make_pair(SOCK_STREAM, ends);
	PREPARE(1, recv, ends[0], memory[0][0], 3, 0);
	quiet();
	put(ends[1], "abcdefg");
	hear(1);
	io_uring_prep_recvmsg_multishot(&filled, ends[0], &message, 0);
	filled.ioprio = 0;
	entry(2, &filled);
	hear(1);
	sqe = PREPARE(3, recv, ends[0], NULL, 1, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	hear(1);
	printf("%s %s %c\n", memory[0][0], memory[0][1], memory[1][0][0]);
	quiet();
}

TEST(receive_of_what_is_no_socket)
{
	FILE *file = tmpfile();
	int ends[2];

	start(8, 16);
	provide(0, 1);
	CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
	receive_into(1, fileno(file), 0);
	receive_into(2, ends[0], 0);
	hear(2);
}

TEST(groups_of_buffers)
{
	int ends[2];

	start(8, 16);
	provide(0, 1);
	provide(1, 1);
	printf("%d\n", register_buffers(1));
	make_pair(SOCK_STREAM, ends);
	put(ends[1], "x");
	receive_into(1, ends[0], 1);
	hear(1);
	printf("%d\n", io_uring_unregister_buf_ring(&ring, 1));
	/* ENOENT; Linux 6.1 says EINVAL for small numbers. */
	CHECK(io_uring_unregister_buf_ring(&ring, 1) < 0);
	put(ends[1], "y");
	hear(1);
	printf("%c\n", memory[1][0][0]);
	receive_into(1, ends[0], 0);
	hear(1);
	printf("%c\n", memory[0][0][0]);
}

/* ---- messages -------------------------------------------------------------------- */

static void receive_messages(uint64_t user_data, int fd, struct msghdr *message)
{
	PREPARE(user_data, recvmsg_multishot, fd, message, 0)->flags |=
		IOSQE_BUFFER_SELECT;
	/* Copied when the entry is taken. */
	CHECK(io_uring_submit(&ring) == 1);
	memset(message, 0xFF, sizeof(*message));
}

/* The buffer as it stands there, but for the sender's port. */
static void say_message(int bid, unsigned name_bytes)
{
	char *buffer = memory[0][bid];
	struct io_uring_recvmsg_out *header = (struct io_uring_recvmsg_out *)buffer;

	if (header->namelen >= 4 && name_bytes >= 4)
		memset(buffer + sizeof(*header) + 2, 0, 2);
	printf("%u %u %u %#x ", header->namelen, header->controllen,
	       header->payloadlen, header->flags);
	say_bytes(buffer, BUFFER_BYTES);
	puts("");
	give_back(0, bid);
}

static void messages(unsigned name_bytes, unsigned control_bytes, const char *text)
{
	struct sockaddr_in to, from;
	struct msghdr message = { .msg_namelen = name_bytes };
	int receiver, sender, on = 1;

	start(8, 16);
	provide(0, 2);
	receiver = bound_socket(SOCK_DGRAM, &to);
	sender = bound_socket(SOCK_DGRAM, &from);
	CHECK(setsockopt(receiver, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)) == 0);
	message.msg_controllen = control_bytes;
	receive_messages(1, receiver, &message);
	quiet();
	for (int bid = 0; bid < 2; bid++) {
		CHECK(sendto(sender, text, strlen(text), 0, (struct sockaddr *)&to,
			     sizeof(to)) == (ssize_t)strlen(text));
		hear(1);
		say_message(bid, name_bytes);
	}
	/* An empty one ends it. */
	CHECK(sendto(sender, "", 0, 0, (struct sockaddr *)&to, sizeof(to)) == 0);
	hear(1);
	say_message(0, name_bytes);
	quiet();
}

TEST(messages_with_names)
{
	messages(sizeof(struct sockaddr_in), 0, "datagram");
}

TEST(messages_with_names_that_are_cut)
{
	messages(6, 0, "datagram");
}

TEST(messages_with_control_data)
{
	messages(16, CMSG_SPACE(sizeof(int)), "x");
}

TEST(messages_with_control_data_that_is_cut)
{
	messages(0, 8, "x");
}

TEST(messages_that_are_cut)
{
	messages(16, 0, "longer than what is left of the buffer after header and name");
}

TEST(messages_that_are_payload_only)
{
	messages(0, 0, "payload");
}

TEST(messages_without_room_for_the_header)
{
	int ends[2];
	struct msghdr message = { .msg_namelen = BUFFER_BYTES };

	start(8, 16);
	provide(0, 1);
	make_pair(SOCK_DGRAM, ends);
	put(ends[1], "x");
	receive_messages(1, ends[0], &message);
	hear(1);
}
