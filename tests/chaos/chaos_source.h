/* SPDX-License-Identifier: MIT
 *
 * The seeded source of the chaos driver's decisions.
 *
 * The n-th decision of a kind depends on the seed, the kind and n only. So two runs
 * with one seed that come to the same calls decide the same, whatever other kinds of
 * faults did in between.
 */
#ifndef URING_CHAOS_SOURCE_H
#define URING_CHAOS_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

/* tests/chaos/faults.py has the same names in the same order. */
enum uring_chaos_kind {
	CHAOS_SHORT_READ,
	CHAOS_SHORT_WRITE,
	CHAOS_READ_AGAIN,
	CHAOS_WRITE_AGAIN,
	CHAOS_INTERRUPTED,
	CHAOS_RESET,
	CHAOS_ACCEPT_AGAIN,
	CHAOS_ACCEPT_RESOURCES,
	CHAOS_ACCEPT_ABORTED,
	CHAOS_CONNECT_FAILED,
	CHAOS_DATAGRAM_RESOURCES,
	CHAOS_WAIT_INTERRUPTED,
	CHAOS_ORDER,
	CHAOS_SPURIOUS,
	CHAOS_DELAYED,
	CHAOS_POOL_EMPTY,
	CHAOS_MULTISHOT_ENDS,
	CHAOS_CANCEL_LATE,
	CHAOS_CANCEL_LOSES,
	CHAOS_KINDS,
};

struct uring_chaos_source {
	bool on;
	/* The probability of each fault is multiplied by this. */
	unsigned factor;
	uint64_t seed;
	uint64_t decisions[CHAOS_KINDS];
	uint64_t faults[CHAOS_KINDS];
};

/* Stafford's mixing function: all bits of the result depend on all bits of `x`. */
static inline uint64_t chaos_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
	return x ^ (x >> 31);
}

static inline uint64_t chaos_number(struct uring_chaos_source *source,
				    enum uring_chaos_kind kind)
{
	/* Several threads may ask at the same time. */
	uint64_t count = __atomic_fetch_add(&source->decisions[kind], 1,
					    __ATOMIC_RELAXED);

	return chaos_mix(chaos_mix(source->seed + 0x9E3779B97F4A7C15ULL * kind) +
			 0xD1B54A32D192ED03ULL * (count + 1));
}

/* Shall this fault happen now? `per_mille`: how often. */
static inline bool chaos_now(struct uring_chaos_source *source,
			     enum uring_chaos_kind kind, unsigned per_mille)
{
	if (!source->on)
		return false;
	if (chaos_number(source, kind) % 1000 >= (uint64_t)per_mille * source->factor)
		return false;
	__atomic_fetch_add(&source->faults[kind], 1, __ATOMIC_RELAXED);
	return true;
}

#endif
