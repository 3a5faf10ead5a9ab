from libc.stdint cimport uint64_t

from uring_loop.driver.ring cimport Operation


cdef class WakeOperation(Operation):
    cdef int fd
    cdef uint64_t counter
