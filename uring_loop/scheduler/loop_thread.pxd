from uring_loop.driver.uapi cimport uring_sleep
from uring_loop.scheduler.handles cimport HandleOwner


cdef class LoopThread(HandleOwner):
    # How other threads end the loop's sleep: include/uring_sleep.h.
    cdef uring_sleep sleep
    cdef public bint _closed

    cdef int refuse_elsewhere(self) except -1
