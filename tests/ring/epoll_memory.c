/* SPDX-License-Identifier: MIT
 *
 * Promises of the epoll driver about memory that is missing, and about register calls.
 */
#include "driver_kit.h"

/* ---- memory ---------------------------------------------------------------------- */

/* Whether each allocation of set-up fails cleanly. */
TEST(set_up_without_memory)
{
	int failures = 0, ret;

	for (unsigned i = 1; ; i++) {
		calls.allocations = 0;
		fail_allocation = i;
		ret = uring_epoll_queue_init(8, 16, &ring);
		if (ret == 0)
			break;
		CHECK(ret == -ENOMEM && ring.ring_fd == -1 && !ring.epoll);
		failures++;
	}
	fail_allocation = 0;
	CHECK(failures == 4);
	CHECK(uring_epoll_queue_init(0, 16, &(struct io_uring){ 0 }) == -EINVAL);
	CHECK(uring_epoll_queue_init(64, 16, &(struct io_uring){ 0 }) == -EINVAL);
	CHECK(ring.sq.ring_entries == 8 && ring.cq.ring_entries == 16);
	CHECK(ring.flags & IORING_SETUP_SUBMIT_ALL);
}

/* The first entries on a new ring, with the allocation `failing` failing: either none
 * is taken, or each is armed or has an answer. */
static bool arm_without_memory(unsigned failing, int ends[2])
{
	struct io_uring_cqe cqe;
	int waiting = 0, taken;

	start(256, 512);
	for (int i = 0; i < 200; i++)
		PREPARE(i, poll_add, ends[0], POLLIN);
	calls.allocations = 0;
	fail_allocation = failing;
	taken = io_uring_submit_and_get_events(&ring);
	fail_allocation = 0;
	CHECK(taken == 200 || taken == -ENOMEM);
	if (taken < 0)
		CHECK(io_uring_submit(&ring) == 200);
	waiting = 200;
	while (uring_pop(&ring, &cqe)) {
		CHECK(cqe.res == -ENOMEM && cqe.flags == 0);
		waiting--;
	}
	CHECK(ring.epoll->armed_count == (unsigned)waiting);
	put(ends[1], "x");
	CHECK(sleep_ms(waiting, 5000) == 0);
	CHECK((int)io_uring_cq_ready(&ring) == waiting);
	CHECK(ring.epoll->armed_count == 0);
	CHECK(recv(ends[0], memory, 1, 0) == 1);
	taken = calls.allocations < failing;
	io_uring_queue_exit(&ring);
	return taken;
}

TEST(entries_without_memory)
{
	int ends[2];
	unsigned failing = 1;

	make_pair(SOCK_STREAM, ends);
	while (!arm_without_memory(failing, ends))
		failing++;
	/* Overflow, slabs, hash, table and descriptor. */
	CHECK(failing > 5);
}

/* Without memory for its answers an entry is not taken; it is not lost either. */
TEST(answers_without_memory)
{
	start(4, 4);
	for (int i = 0; i < 4; i++)
		PREPARE(i, nop);
	calls.allocations = 0;
	fail_allocation = 1;
	CHECK(io_uring_submit(&ring) == -ENOMEM);
	CHECK(io_uring_sq_ready(&ring) == 4 && io_uring_cq_ready(&ring) == 0);
	CHECK(io_uring_submit_and_get_events(&ring) == 4);
	hear(4);
}

TEST(a_number_that_is_no_descriptor_takes_no_memory)
{
	start(8, 16);
	PREPARE(1, poll_add, INT_MAX, POLLIN);
	PREPARE(2, poll_add, 900, POLLIN);
	hear(2);
	CHECK(ring.epoll->descriptors_count == 0);
}

TEST(buffers_without_memory)
{
	start(8, 16);
	calls.allocations = 0;
	fail_allocation = 1;
	CHECK(register_buffers(0) == -ENOMEM);
	CHECK(register_buffers(0) == 0);
	CHECK(register_buffers(0) == -EEXIST);
}

TEST(exit_with_everything_in_flight)
{
	int ends[2];

	start(8, 8);
	provide(0, 1);
	provide(1, 1);
	make_pair(SOCK_STREAM, ends);
	receive_into(1, ends[0], 0);
	PREPARE(2, poll_add, ends[1], POLLIN);
	CHECK(io_uring_submit(&ring) == 2);
	for (int i = 0; i < 12; i++) {
		PREPARE(i, nop);
		CHECK(io_uring_submit(&ring) == 1);
	}
	PREPARE(3, nop);
}

/* ---- register -------------------------------------------------------------------- */

TEST(register_calls)
{
	struct io_uring_restriction restriction = { 0 };
	struct io_uring_buf_reg reg = { .ring_entries = 3 };

	start(8, 16);
	CHECK(io_uring_enable_rings(&ring) == 0);
	CHECK(io_uring_register_eventfd(&ring, 1) == -EINVAL);
	CHECK(io_uring_unregister_eventfd(&ring) == -EINVAL);
	CHECK(io_uring_register_ring_fd(&ring) == -EINVAL && !ring.registered_ring);
	CHECK(io_uring_register_restrictions(&ring, &restriction, 1) == -EINVAL);
	reg.ring_addr = (uint64_t)(uintptr_t)rings;
	CHECK(io_uring_register_buf_ring(&ring, &reg, 0) == -EINVAL);
	reg.ring_entries = 4;
	CHECK(io_uring_register_buf_ring(&ring, &reg, 1) == -EINVAL);
}

TEST(the_probe_knows_what_is_served)
{
	char room[16 + 256 * 8] = { 0 };
	struct io_uring_probe *probe = (struct io_uring_probe *)room;
	const int known[] = { 0, 6, 10, 14, 22, 27 };
	int found = 0;

	start(8, 16);
	CHECK(io_uring_register_probe(&ring, probe, 256) == 0);
	CHECK(probe->ops_len == 28);
	for (int op = 0; op < probe->ops_len; op++)
		if (probe->ops[op].flags & IO_URING_OP_SUPPORTED)
			CHECK(op == known[found++]);
	CHECK(found == 6);
	for (int op = 0; op < 256; op++) {
		PREPARE(op, nop)->opcode = (uint8_t)op;
		CHECK(hear(1).res == (op == 0 ? 0 : op == 14 ? -ENOENT :
				      op < 28 && probe->ops[op].flags ? -EBADF :
				      -EINVAL));
	}
}
