/* SPDX-License-Identifier: MIT
 *
 * Litmus test of the sleep handshake: threads push into a queue whose owner sleeps.
 *
 * The owner takes what is there and sleeps on the eventfd when it finds nothing, as
 * LoopCore.wait_on_ring() does. A push that it misses leaves it asleep, and its poll(2)
 * ends by the time limit. The queue is locked, as a deque is without a GIL; its length
 * is looked at without the lock. In the end descriptors are changed and closed while
 * other threads wake: a write must never reach a file that has got the same number.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "uring_sleep.h"

enum { THREADS = 2, PUSHES = 100000, CHANGES = 3000, ROUNDS = 20000, LIMIT_MS = 20000 };

static struct uring_sleep sleep_state;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic long length;
static _Atomic int stopping;

#define CHECK(what)                                                      \
	do {                                                             \
		if (!(what)) {                                           \
			fprintf(stderr, "line %d: %s\n", __LINE__, #what); \
			exit(1);                                         \
		}                                                        \
	} while (0)

static void wake_if_idle(void)
{
	uring_pushed();
	if (uring_mark(&sleep_state))
		uring_wake(&sleep_state);
}

static void *push(void *unused)
{
	for (int i = 0; i < PUSHES; i++) {
		pthread_mutex_lock(&lock);
		atomic_fetch_add_explicit(&length, 1, memory_order_relaxed);
		pthread_mutex_unlock(&lock);
		wake_if_idle();
		/* The next push comes about when the owner goes to sleep. */
		for (int j = 0; j < 1000 && atomic_load(&length); j++)
			;
	}
	return unused;
}

static long take(void)
{
	long taken;

	pthread_mutex_lock(&lock);
	taken = atomic_exchange_explicit(&length, 0, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return taken;
}

static long look(void)
{
	return atomic_load_explicit(&length, memory_order_relaxed);
}

/* Spin for a while; true if another thread has ended it. */
static bool spin(void)
{
	if (!uring_change_mark(&sleep_state, URING_ASLEEP, URING_SPINNING))
		return false;
	for (int i = 0; i < 50; i++)
		if (uring_mark(&sleep_state) != URING_SPINNING)
			break;
	return !uring_change_mark(&sleep_state, URING_SPINNING, URING_ASLEEP);
}

/* Sleep as the loop does; every second time it spins first. */
static void wait_for_pushes(int fd, long turn)
{
	struct pollfd set = { .fd = fd, .events = POLLIN };
	uint64_t count;

	uring_mark_asleep(&sleep_state);
	if (!look()) {
		if (turn % 2 == 0 || !spin()) {
			CHECK(poll(&set, 1, LIMIT_MS) == 1);
			CHECK(read(fd, &count, sizeof(count)) == sizeof(count));
		}
	}
	uring_mark_awake(&sleep_state);
}

static void no_push_is_missed(void)
{
	pthread_t threads[THREADS];
	long taken = 0, turn = 0;
	int fd = eventfd(0, 0);

	uring_set_fd(&sleep_state, fd);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, push, NULL));
	while (taken < (long)THREADS * PUSHES) {
		if (look())
			taken += take();
		else
			wait_for_pushes(fd, turn++);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	uring_set_fd(&sleep_state, -1);
	close(fd);
}

/* Store buffering, the litmus test itself: in each round both threads start together,
 * and at least one has to see what the other has stored. */
static _Atomic int arrived[2];
static int saw[2];

static void meet(int me, int round)
{
	atomic_store(&arrived[me], round);
	while (atomic_load(&arrived[!me]) < round)
		;
}

static void *push_in_rounds(void *unused)
{
	for (int round = 1; round < 2 * ROUNDS; round += 2) {
		meet(1, round);
		atomic_store_explicit(&length, 1, memory_order_relaxed);
		uring_pushed();
		saw[1] = uring_mark(&sleep_state);
		meet(1, round + 1);
	}
	return unused;
}

static void one_sees_the_other(void)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, push_in_rounds, NULL));
	for (int round = 1; round < 2 * ROUNDS; round += 2) {
		atomic_store(&length, 0);
		uring_mark_awake(&sleep_state);
		meet(0, round);
		uring_mark_asleep(&sleep_state);
		saw[0] = (int)look();
		meet(0, round + 1);
		CHECK(saw[0] || saw[1]);
	}
	pthread_join(thread, NULL);
	atomic_store(&length, 0);
	uring_mark_awake(&sleep_state);
}

static void *wake_again_and_again(void *unused)
{
	while (!atomic_load(&stopping))
		uring_wake(&sleep_state);
	return unused;
}

/* A closed descriptor's number goes to a pipe, in which nothing must arrive. */
static void closed_descriptor_is_not_written(void)
{
	pthread_t thread;
	char byte;
	int fd, pipe_ends[2], spare;

	CHECK(!pthread_create(&thread, NULL, wake_again_and_again, NULL));
	for (int i = 0; i < CHANGES; i++) {
		CHECK(!pipe2(pipe_ends, O_NONBLOCK));
		fd = eventfd(0, 0);
		uring_set_fd(&sleep_state, fd);
		uring_mark_asleep(&sleep_state);
		uring_set_fd(&sleep_state, -1);
		spare = dup2(pipe_ends[1], fd);
		CHECK(read(pipe_ends[0], &byte, 1) < 0);
		close(spare);
		close(pipe_ends[0]);
		close(pipe_ends[1]);
	}
	atomic_store(&stopping, 1);
	pthread_join(thread, NULL);
}

int main(void)
{
	uring_set_fd(&sleep_state, -1);
	one_sees_the_other();
	no_push_is_missed();
	closed_descriptor_is_not_written();
	return 0;
}
