from uring_loop.driver.ring cimport Ring
from uring_loop.driver.uapi cimport uring_sleep

from libc.stdint cimport int64_t


cdef class AdaptivePoll:
    cdef readonly int64_t max_ns
    cdef readonly int64_t grow
    cdef readonly int64_t shrink
    # The length of the next spin.
    cdef readonly int64_t ns
    cdef readonly unsigned long hit_count
    cdef readonly unsigned long missed_count
    cdef readonly int64_t spun_ns
    # May the thread use more than one CPU? -1: not known yet.
    cdef int may_spin

    cpdef int adjust(self, int64_t blocked_ns) except -1
    cdef bint wanted(self) except -1
    cdef bint spin(self, Ring ring, const uring_sleep *sleep,
                   int64_t limit_ns) except -1


cdef int64_t now_ns() noexcept nogil
