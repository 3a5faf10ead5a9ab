from uring_loop.driver.ring cimport Ring
from uring_loop.driver.uapi cimport io_uring_buf_ring


cdef class BufferPool:
    cdef Ring ring
    cdef unsigned long fork_mark
    cdef io_uring_buf_ring *entries
    cdef char *memory
    cdef int mask
    cdef readonly unsigned short group
    cdef readonly unsigned buffer_bytes
    cdef readonly unsigned count
    cdef readonly unsigned most

    cdef BufferPool again(self, Ring ring)
    cdef int take_over(self, BufferPool old, dict held) except -1
    cpdef bint grow(self)
    cpdef bytes take(self, unsigned flags, Py_ssize_t size)
    cdef char *borrow(self, unsigned flags) noexcept
    cdef void give_back(self, unsigned flags) noexcept


cdef enum:
    # Groups of provided buffers: one for each pool of a ring.
    STREAM_GROUP = 0
    MESSAGE_GROUP = 1

cdef BufferPool make_stream_pool(Ring ring)
cdef BufferPool make_message_pool(Ring ring)
