from uring_loop.driver.uapi cimport uring_sleep
from uring_loop.scheduler.handles cimport HandleOwner


cdef class LoopThread(HandleOwner):
    # How other threads end the loop's sleep: include/uring_sleep.h.
    cdef uring_sleep sleep
    cdef public bint _closed
    # In debug mode the handle whose callback runs, else None. Written by now_runs().
    cdef public object _current_handle

    cdef int now_runs(self, handle) except -1
    cdef int refuse_elsewhere(self) except -1
