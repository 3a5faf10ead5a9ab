"""Statistics: counters of a loop, and the present lengths of its queues."""

from typing import NamedTuple


class Statistics(NamedTuple):
    """Counters since the loop was made, and present values, on both backends."""

    #: Iterations so far.
    iterations: int
    #: Enters of the driver (`io_uring_enter`, or on epoll the same work by
    #: `epoll_wait`), whether they slept or not.
    enters: int
    #: Completions handed to their operations.
    completions: int
    #: How often the completion queue was full: a larger `sq_entries` may help.
    full_queues: int
    #: Operations in flight now.
    in_flight: int
    #: Callbacks in the ready queue now.
    ready: int
    #: Timers in the heap now; cancelled ones may be among them.
    timers: int
    #: Buffers in the pool of stream receives now; 0 before the first stream.
    pool_buffers: int
    #: The length of the next spin in nanoseconds, as adaptive polling has set it.
    poll_ns: int
    #: Spins during which an event arrived, so that the loop did not sleep.
    spins_hit: int
    #: Spins during which no event arrived, so that the loop slept.
    spins_missed: int
    #: Time spent spinning, in nanoseconds.
    spun_ns: int


def gather_statistics(ring, pool, poll, **counts):
    """Collect the numbers of a loop's parts; `pool` is None before the first stream."""
    return Statistics(
        **counts,
        enters=ring.enter_count,
        completions=ring.completion_count,
        full_queues=ring.full_count,
        in_flight=ring.in_flight_count,
        pool_buffers=0 if pool is None else pool.count,
        poll_ns=poll.ns,
        spins_hit=poll.hit_count,
        spins_missed=poll.missed_count,
        spun_ns=poll.spun_ns,
    )
