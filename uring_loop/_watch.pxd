from uring_loop._loop cimport LoopCore
from uring_loop._ring cimport Operation


cdef class Watch(Operation):
    cdef LoopCore loop
    # The handles of reader and writer, as asyncio registers them.
    cdef object data
    cdef object handle
    cdef int fd
    # What is wanted of selectors.EVENT_READ and EVENT_WRITE; 0: nothing any more.
    cdef unsigned events

    cdef unsigned poll_mask(self) noexcept
    cdef int report(self, unsigned mask) except -1
    cdef int run(self, handle) except -1
