from uring_loop.scheduler.loop_core cimport Writer

from libc.stdint cimport int64_t


cdef class PiecemealWriter(Writer):
    # The descriptor is known outside the transport.
    cdef bint exposed
    # The iteration of the last write, and how many writes it had.
    cdef unsigned int write_step
    cdef unsigned char writes_count
    # Iterations in a row that had several; below 0: that many do not count.
    cdef signed char habit

    cdef bint writes_piecemeal(self, unsigned int step) noexcept
    cdef int note_flushed(self, Py_ssize_t pieces_count, int64_t held_ns) noexcept


cdef enum:
    # Larger writes are never held back.
    HOLD_BYTES = 16384
