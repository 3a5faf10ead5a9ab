/* SPDX-License-Identifier: MIT
 *
 * Entries that wait in memory of our own because the submission queue is full.
 *
 * A SINGLE_ISSUER ring takes submissions from its thread only. While that thread does
 * not run the loop, another may prepare entries, and when the queue is full it can
 * neither submit nor wait. Its entries are parked here, in their order, until the
 * ring's thread comes back.
 */
#ifndef URING_PARKED_H
#define URING_PARKED_H

#include <stdlib.h>

#include "uring.h"

struct uring_parked {
	struct io_uring_sqe *sqes;
	unsigned first;
	unsigned count;
	unsigned room;
};

/* A place behind those that wait, good until the next call; NULL without memory. */
static inline struct io_uring_sqe *uring_park(struct uring_parked *parked)
{
	if (parked->count == parked->room) {
		unsigned room = parked->room ? 2 * parked->room : 256;
		void *more = realloc(parked->sqes, room * sizeof(*parked->sqes));

		if (!more)
			return NULL;
		parked->sqes = (struct io_uring_sqe *)more;
		parked->room = room;
	}
	return &parked->sqes[parked->count++];
}

/* Move as many into the queue as there is room for. Returns how many still wait: they
 * go before anything newer, since a cancel must stay behind what it cancels. */
static inline unsigned uring_unpark(struct uring_parked *parked, struct io_uring *ring)
{
	struct io_uring_sqe *sqe;

	while (parked->first < parked->count && (sqe = io_uring_get_sqe(ring)))
		*sqe = parked->sqes[parked->first++];
	if (parked->first == parked->count)
		parked->first = parked->count = 0;
	return parked->count - parked->first;
}

#endif
