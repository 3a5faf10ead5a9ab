"""Busy polling: spins before the loop sleeps, for a time that adapts to recent waits.

To sleep in the kernel and to wake up costs more than many waits take. A spin before the
sleep saves that cost if an event arrives soon, and wastes processor time if not. Names,
algorithm and defaults are those of QEMU's AioContext (poll-max-ns, poll-grow,
poll-shrink).
"""

cimport cython
from libc.stdint cimport int64_t

import os

from uring_loop.driver.capi cimport PyErr_CheckSignals
from uring_loop.driver.ring cimport Ring
from uring_loop.driver.uapi cimport (
    uring_now_ns, uring_read_once, uring_sleep, uring_spin)

cdef int64_t FIRST_NS = 4_000
cdef int64_t DEFAULT_GROW = 2
cdef int64_t LARGEST = 0x7FFFFFFFFFFFFFFF
# A long spin is cut into parts of this length; Python's signal handlers run in between.
cdef int64_t PART_NS = 1_000_000


cdef int64_t now_ns() noexcept nogil:
    # Reading the monotonic clock cannot raise.
    return uring_now_ns()


@cython.final
cdef class AdaptivePoll:
    """The length of the next spin, adapted to the duration of the last waits.

    max_ns  the longest spin, in nanoseconds; 0: no spins
    grow    the factor by which a spin is lengthened; 0 means 2
    shrink  the divisor by which a spin is shortened; 0: to no spin at once
    """

    def __cinit__(self):
        self.may_spin = -1

    def set(self, *, max_ns, grow, shrink):
        """Set the parameters and reset the spin; raises ValueError for bad ones."""
        check_poll(max_ns, grow, shrink)
        self.ns = 0
        self.max_ns = max_ns
        self.grow = grow
        self.shrink = shrink
        self.may_spin = -1

    def look_at_cpus(self):
        """Count the CPUs that the thread may use again, before the next spin."""
        self.may_spin = -1

    cdef bint wanted(self) except -1:
        """Should the loop spin now? Never on a single CPU: the spin would keep it from
        the programs whose events the loop waits for."""
        if self.may_spin < 0:
            self.may_spin = len(os.sched_getaffinity(0)) > 1
        return self.ns > 0 and self.may_spin

    cdef bint spin(self, Ring ring, const uring_sleep *sleep,
                   int64_t limit_ns) except -1:
        """Spin without the GIL for `ns` nanoseconds, at most `limit_ns` (< 0: no
        limit). True if the ring has work or the mark is no longer SPINNING."""
        cdef int64_t start = now_ns()
        cdef int64_t now = start
        cdef int64_t end
        cdef bint hit = False
        end = start + (self.ns if limit_ns < 0 else min(self.ns, limit_ns))
        try:
            while not hit and now < end:
                with nogil:
                    hit = uring_spin(&ring.ring, sleep, min(end, now + PART_NS))
                now = now_ns()
                PyErr_CheckSignals()
        finally:
            self.spun_ns += now_ns() - start
        # A timer that became due during the spin saved a sleep, too.
        if hit or limit_ns >= 0 and now - start >= limit_ns:
            self.hit_count += 1
        else:
            self.missed_count += 1
        return hit

    cpdef int adjust(self, int64_t blocked_ns) except -1:
        """Adapt to a wait (spin and sleep together) that took this long."""
        # Each read once: any thread may set them at any time.
        cdef int64_t max_ns = uring_read_once(&self.max_ns)
        cdef int64_t grow = uring_read_once(&self.grow)
        cdef int64_t shrink = uring_read_once(&self.shrink)
        grow = grow or DEFAULT_GROW
        if blocked_ns <= self.ns:
            # The spin was long enough.
            return 0
        if blocked_ns > max_ns:
            # The longest allowed spin would have been too short.
            self.ns = self.ns // shrink if shrink else 0
        elif self.ns == 0:
            self.ns = min(FIRST_NS, max_ns)
        elif self.ns < max_ns:
            # A longer spin would have been enough. This form cannot overflow.
            self.ns = max_ns if self.ns > max_ns // grow else self.ns * grow
        return 0


def check_poll(max_ns, grow, shrink):
    """Raise ValueError for an invalid parameter."""
    for name, value in (("max_ns", max_ns), ("grow", grow), ("shrink", shrink)):
        if not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise ValueError(
                f"poll_{name} must be an integer from 0 to 2**63 - 1, not {value!r}")
