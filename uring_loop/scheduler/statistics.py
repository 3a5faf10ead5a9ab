"""Statistics: what a loop has done so far, in numbers."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the loop was made, and how things stand now, on both backends."""

    #: Iterations so far.
    iterations: int
    #: Calls of the driver, `io_uring_enter` or `epoll_wait`, whether they slept or not.
    enters: int
    #: Completions handed to their operations.
    completions: int
    #: Times when the completion queue was found full: a larger `sq_entries` may help.
    full_queues: int
    #: Operations that the kernel has not answered for good, now.
    in_flight: int
    #: Callbacks that wait to run, now.
    ready: int
    #: Timers that have been set, now; cancelled ones may be among them.
    timers: int
    #: Buffers in the pool of receives, now; 0 before the first stream.
    pool_buffers: int
    #: How long the next spin may be, in nanoseconds: what adaptive polling has learnt.
    poll_ns: int
    #: Spins that saw something come, so that the loop did not sleep.
    spins_hit: int
    #: Spins that saw nothing, so that the loop slept after all.
    spins_missed: int
    #: Time spent spinning, in nanoseconds.
    spun_ns: int
