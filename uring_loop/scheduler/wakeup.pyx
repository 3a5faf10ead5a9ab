"""The wake-up: the eventfd through which another thread ends a loop's sleep."""

cimport cython

import os

from uring_loop.driver.libc cimport close_fd
from uring_loop.driver.ring cimport Operation
from uring_loop.driver.uapi cimport io_uring_prep_read, io_uring_sqe


@cython.final
cdef class WakeOperation(Operation):
    """The read of the eventfd, in flight while the loop sleeps."""

    def __cinit__(self):
        self.fd = -1
        # Blocking: kernels before 5.19 complete a read of an empty non-blocking eventfd
        # with EAGAIN instead of waiting.
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_read(sqe, self.fd, &self.counter, sizeof(self.counter), 0)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # Prepared again before the next sleep: other threads write only to wake a loop
        # that sleeps.
        return 0

    def close(self):
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1

    def __dealloc__(self):
        # A loop whose __init__ failed is never closed.
        if self.fd >= 0:
            close_fd(self.fd)
