/* SPDX-License-Identifier: MIT
 *
 * Entries that wait outside a full submission queue.
 *
 * A SINGLE_ISSUER ring accepts submissions from one thread only. While that thread does
 * not run the loop, another thread may prepare entries; if the queue is full, that
 * thread can neither submit nor wait. Its entries are parked here, in order, until the
 * ring's thread enters again.
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

/* A new entry behind the parked ones, valid until the next call; NULL if memory is
 * missing. */
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

/* Move as many parked entries into the queue as it has room for. Returns the number
 * still parked: these go before any newer entry, since a cancel must stay behind the
 * request it cancels. */
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
