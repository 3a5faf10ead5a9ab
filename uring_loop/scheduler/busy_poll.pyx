"""Busy polling: how long to look at the ring in user space before the loop sleeps.

Sleeping in the kernel and waking up costs
more than many a wait takes. A spin before the sleep saves that if something comes soon,
and wastes the processor if not, so its length adapts to how long the last waits were.
Names, algorithm and defaults are those of QEMU's AioContext (poll-max-ns, poll-grow,
poll-shrink).
"""

cimport cython
from libc.stdint cimport int64_t

import os

from uring_loop.driver.capi cimport PyErr_CheckSignals
from uring_loop.driver.ring cimport Ring
from uring_loop.driver.uapi cimport uring_now_ns, uring_spin

cdef int64_t FIRST_NS = 4_000
cdef int64_t DEFAULT_GROW = 2
cdef int64_t LARGEST = 0x7FFFFFFFFFFFFFFF
# Python's signal handlers run between two parts of a long spin.
cdef int64_t PART_NS = 1_000_000


cdef int64_t now_ns() noexcept nogil:
    # A reading of the monotonic clock cannot fail.
    return uring_now_ns()


@cython.final
cdef class AdaptivePoll:
    """How long the next spin may be, learnt from how long the last waits were.

    max_ns  the longest spin, in nanoseconds; 0: none
    grow    factor of a longer spin; 0: 2
    shrink  divisor of a shorter spin; 0: back to none at once
    """

    def __cinit__(self):
        self.may_spin = -1

    def set(self, *, max_ns, grow, shrink):
        """Take new parameters and begin to learn anew; ValueError for bad ones."""
        check_poll(max_ns, grow, shrink)
        self.ns = 0
        self.max_ns = max_ns
        self.grow = grow
        self.shrink = shrink
        self.may_spin = -1

    def look_at_cpus(self):
        """Ask anew, before the next spin, how many CPUs the thread may use."""
        self.may_spin = -1

    cdef bint wanted(self) except -1:
        """Is a spin worth while now? Never where it would keep the only CPU from those
        who have to bring what is waited for."""
        if self.may_spin < 0:
            self.may_spin = len(os.sched_getaffinity(0)) > 1
        return self.ns > 0 and self.may_spin

    cdef bint spin(self, Ring ring, const volatile int *word, int value,
                   int64_t limit_ns) except -1:
        """Look at the ring, without the GIL, for as long as was learnt or up to the
        limit (< 0: none). True if the ring has work or `word` is no longer `value`."""
        cdef int64_t start = now_ns()
        cdef int64_t now = start
        cdef int64_t end
        cdef bint hit = False
        end = start + (self.ns if limit_ns < 0 else min(self.ns, limit_ns))
        try:
            while not hit and now < end:
                with nogil:
                    hit = uring_spin(&ring.ring, word, value, min(end, now + PART_NS))
                now = now_ns()
                PyErr_CheckSignals()
        finally:
            self.spun_ns += now_ns() - start
        # A timer that came due meanwhile has not been slept for, either.
        if hit or limit_ns >= 0 and now - start >= limit_ns:
            self.hit_count += 1
        else:
            self.missed_count += 1
        return hit

    cpdef int adjust(self, int64_t blocked_ns) except -1:
        """Learn from a wait that took this long, spin and sleep together."""
        cdef int64_t grow = self.grow or DEFAULT_GROW
        if blocked_ns <= self.ns:
            # Just right: the spin was long enough.
            return 0
        if blocked_ns > self.max_ns:
            # No spin that is allowed would have been.
            self.ns = self.ns // self.shrink if self.shrink else 0
        elif self.ns == 0:
            self.ns = min(FIRST_NS, self.max_ns)
        elif self.ns < self.max_ns:
            # A longer one would have been; in this form it cannot overflow.
            self.ns = self.max_ns if self.ns > self.max_ns // grow else self.ns * grow
        return 0


def check_poll(max_ns, grow, shrink):
    """ValueError for what cannot be a parameter."""
    for name, value in (("max_ns", max_ns), ("grow", grow), ("shrink", shrink)):
        if not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise ValueError(
                f"poll_{name} must be an integer from 0 to 2**63 - 1, not {value!r}")
