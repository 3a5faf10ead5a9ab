from uring_loop.scheduler.held_writes cimport Writer
from uring_loop.scheduler.loop_core cimport LoopCore


cdef class GatheringWriter(Writer):
    cdef LoopCore loop
    # The descriptor is known outside the transport.
    cdef bint exposed
    # The iteration of the last write, and how many writes it had.
    cdef unsigned int write_step
    cdef unsigned char writes_count
    # Iterations in a row that had several; below 0: that many do not count.
    cdef signed char habit

    cdef bint may_hold(self, bint bulk) noexcept
    cdef bint writes_piecemeal(self, unsigned int step) noexcept
    cdef int note_sent(self) noexcept
    cdef int flush_held(self) except -1
    cdef int check_thread(self) except -1


cdef bint has_company(LoopCore loop) noexcept


cdef enum:
    # A write of this size or more is bulk.
    BULK_WRITE_BYTES = 16384
    # A connection that holds more back sends it.
    HOLD_BYTES = 65536
    # The same for one below TLS: see gather.pyx.
    SECURED_HOLD_BYTES = 327680
