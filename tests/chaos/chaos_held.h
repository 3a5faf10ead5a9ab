/* SPDX-License-Identifier: MIT
 *
 * Completions that the chaos driver holds back, and cancels that come too late.
 *
 * Both belong to a ring, known by its epoll state. A held completion is posted some
 * enters later; completions of one request keep their order, those of different
 * requests need not. While a ring has any, one more armed request is counted, so that
 * uring_need_wait() stays true, and an enter does not sleep.
 */
#ifndef URING_CHAOS_HELD_H
#define URING_CHAOS_HELD_H

#include <pthread.h>
#include <string.h>

#define CHAOS_HELD_MOST 1024

struct chaos_held {
	struct uring_epoll *ep;
	int set;
	/* A cancel that has been told -EALREADY: only cqe.user_data is used. */
	bool cancel;
	unsigned enters_left;
	struct io_uring_cqe cqe;
};

static struct chaos_held chaos_held[CHAOS_HELD_MOST];
static unsigned chaos_held_count;
/* Loops of several threads may enter at the same time. */
static pthread_mutex_t chaos_lock = PTHREAD_MUTEX_INITIALIZER;

/* How many the ring has; with `user_data`, how many of that request. */
static unsigned chaos_count(const struct uring_epoll *ep, const uint64_t *user_data)
{
	unsigned count = 0;

	for (unsigned i = 0; i < chaos_held_count; i++)
		count += chaos_held[i].ep == ep &&
			 (!user_data || (!chaos_held[i].cancel &&
					 chaos_held[i].cqe.user_data == *user_data));
	return count;
}

static void chaos_remove(unsigned index)
{
	struct uring_epoll *ep = chaos_held[index].ep;

	memmove(&chaos_held[index], &chaos_held[index + 1],
		(--chaos_held_count - index) * sizeof(*chaos_held));
	if (!chaos_count(ep, NULL) && --ep->armed_count == 0)
		ep->sq_flags &= ~IORING_SQ_TASKRUN;
}

/* False if there is no room. */
static bool chaos_hold(struct io_uring *ring, const struct io_uring_cqe *cqe,
		       bool cancel, unsigned enters)
{
	struct chaos_held *held = &chaos_held[chaos_held_count];

	if (chaos_held_count == CHAOS_HELD_MOST)
		return false;
	if (!chaos_count(ring->epoll, NULL)) {
		ring->epoll->armed_count++;
		ring->epoll->sq_flags |= IORING_SQ_TASKRUN;
	}
	held->ep = ring->epoll;
	held->set = ring->ring_fd;
	held->cancel = cancel;
	held->enters_left = enters;
	held->cqe = *cqe;
	chaos_held_count++;
	return true;
}

/* Is it the oldest of its request? */
static bool chaos_is_oldest(unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (chaos_held[i].ep == chaos_held[index].ep &&
		    chaos_held[i].cqe.user_data == chaos_held[index].cqe.user_data)
			return false;
	return true;
}

/* Must an enter of this epoll set return soon? */
static bool chaos_set_has_held(int set)
{
	bool found = false;

	pthread_mutex_lock(&chaos_lock);
	for (unsigned i = 0; i < chaos_held_count; i++)
		found |= chaos_held[i].set == set;
	pthread_mutex_unlock(&chaos_lock);
	return found;
}

static void chaos_forget(const struct uring_epoll *ep)
{
	unsigned kept = 0;

	pthread_mutex_lock(&chaos_lock);
	for (unsigned i = 0; i < chaos_held_count; i++)
		if (chaos_held[i].ep != ep)
			chaos_held[kept++] = chaos_held[i];
	chaos_held_count = kept;
	pthread_mutex_unlock(&chaos_lock);
}

#endif
