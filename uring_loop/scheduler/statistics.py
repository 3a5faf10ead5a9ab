"""Statistics: counters of a loop, and the present lengths of its queues."""

import collections

# Not typing.NamedTuple: from Python 3.15 on asyncio does not import typing, which takes
# a tenth of the time that all the rest takes.
FIELDS = (
    # Iterations so far.
    "iterations",
    # Handles, timers and callbacks of watches that the loop has run, or skipped since
    # they were cancelled. What completions call is not among them.
    "callbacks",
    # Time within callbacks, in seconds: 0 unless debug mode or telemetry measures them.
    "busy_seconds",
    # Bytes that stream and datagram transports have received and sent. TLS counts as
    # it is on the wire; pipes, files and sock_*() do not count.
    "received_bytes",
    "sent_bytes",
    # Connections that listeners have accepted.
    "accepts",
    # Enters of the driver (`io_uring_enter`, or on epoll the same work by
    # `epoll_wait`), whether they slept or not.
    "enters",
    # Completions handed to their operations.
    "completions",
    # How often the completion queue was full: a larger `sq_entries` may help.
    "full_queues",
    # Operations in flight now.
    "in_flight",
    # Callbacks in the ready queue now.
    "ready",
    # Timers in the heap now; cancelled ones may be among them.
    "timers",
    # Buffers in the pool of stream receives now; 0 before the first stream.
    "pool_buffers",
    # The length of the next spin in nanoseconds, as adaptive polling has set it.
    "poll_ns",
    # Spins during which an event arrived, so that the loop did not sleep.
    "spins_hit",
    # Spins during which no event arrived, so that the loop slept.
    "spins_missed",
    # Time spent spinning, in nanoseconds.
    "spun_ns",
)


class Statistics(collections.namedtuple("Statistics", FIELDS)):
    """Counters since the loop was made, and present values, on both backends."""

    __slots__ = ()


def gather_statistics(ring, pool, poll, callback_watch, **counts):
    """Collect the numbers of a loop's parts; `pool` is None before the first stream."""
    return Statistics(
        **counts,
        busy_seconds=callback_watch.busy_seconds,
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
