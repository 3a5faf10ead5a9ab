from cpython.buffer cimport Py_buffer
cimport cython
from libc.stdint cimport int64_t

from uring_loop.driver.ring cimport Operation
from uring_loop.driver.uapi cimport io_uring_sqe
from uring_loop.scheduler.loop_core cimport LoopCore


# The conversions of a successful result.
cdef enum:
    GIVES_NOTHING
    GIVES_COUNT
    GIVES_BYTES
    GIVES_STAT
    GIVES_DESCRIPTOR


cdef class FileOperation(Operation):
    cdef LoopCore loop
    cdef RingFile file
    cdef io_uring_sqe entry
    cdef int gives
    cdef bint done
    cdef bint cancelled
    cdef bint repeatable
    cdef bint repeated
    # The targets of the entry's addresses: objects, a buffer view, allocated memory.
    cdef object memory
    cdef object second_memory
    cdef Py_buffer view
    cdef bint has_view
    cdef void *own_memory
    # The file names of an error.
    cdef object filename
    cdef object filename2
    # The waiting task, in the same fields as in asyncio's Future.
    cdef public bint _asyncio_future_blocking
    cdef object callback
    cdef object context
    cdef object value
    cdef object error

    cdef FileOperation start(self)
    cdef void *hold_own(self, size_t size) except NULL
    cdef int hold_view(self, object buffer, int flags) except -1
    cdef int drop_memory(self) except -1
    cdef object converted(self, int res)
    cdef object taken_bytes(self, Py_ssize_t size)
    cdef object failure(self, exc)
    cdef int finish(self) except -1
    cdef int replace_memory(self) except -1


cdef class RingFile:
    cdef LoopCore loop
    cdef readonly int fd
    cdef readonly bint direct
    # The number of operations in flight, and the Future of `wait_idle`.
    cdef readonly Py_ssize_t busy_count
    cdef object idle
    # Does the file support reads from the page cache without waiting? How many more
    # bytes may be read in that way in the current iteration?
    cdef bint caches
    cdef unsigned long step_number
    cdef Py_ssize_t bytes_left

    cdef bint may_read_now(self, Py_ssize_t size, int64_t offset) noexcept
    cdef bint reads_now(self, char *address, Py_ssize_t size, int64_t offset) noexcept
    cdef FileOperation operation(self, int gives, bint repeatable)
    cdef int ended(self) except -1


@cython.final
cdef class AlignedMemory:
    cdef void *memory
    cdef Py_ssize_t size
