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

    cpdef BufferPool again(self, Ring ring)
    cpdef bint grow(self)
    cpdef bytes take(self, unsigned flags, Py_ssize_t size)
    cdef char *borrow(self, unsigned flags) noexcept
    cdef void give_back(self, unsigned flags) noexcept
