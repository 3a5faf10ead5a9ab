from uring_loop.driver.buffer_pool cimport BufferPool
from uring_loop.driver.ring cimport Operation, Ring


cdef class Handover:
    # (operation, res, flags) in the order of posting, and the number handed out.
    cdef list completions
    cdef Py_ssize_t done
    # The operations whose last completion is in `completions`.
    cdef set ended

    cdef int read(self, Ring ring, Handover earlier) except -1
    cdef int set_aside(self, Ring ring) except -1
    cdef int fill(self, BufferPool pool, BufferPool old) except -1
    cdef int move(self, list operations, Ring ring) except -1
    cdef int move_one(self, Operation op, Ring ring) except -1
    cdef int end(self, Operation op) except -1
    cdef bint hand_out_one(self, Ring ring) except -1
