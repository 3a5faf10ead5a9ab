"""The wake-up: how another thread ends a loop's sleep, by an eventfd."""

cimport cython

import os

from uring_loop.driver.libc cimport close_fd
from uring_loop.driver.ring cimport Operation
from uring_loop.driver.uapi cimport io_uring_prep_read, io_uring_sqe


@cython.final
cdef class WakeOperation(Operation):
    """A read of the eventfd through which other threads end the loop's sleep."""

    def __cinit__(self):
        self.fd = -1
        # Blocking: kernels before 5.19 answer EAGAIN to a read of an empty
        # non-blocking one instead of waiting.
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_read(sqe, self.fd, &self.counter, sizeof(self.counter), 0)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # Prepared again before the next sleep: nobody writes while the loop is awake.
        return 0

    def close(self):
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1

    def __dealloc__(self):
        # Of a loop whose __init__ failed, which is never closed.
        if self.fd >= 0:
            close_fd(self.fd)
