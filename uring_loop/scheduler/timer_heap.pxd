from uring_loop.scheduler.handles cimport TimerHandle


cdef class TimerHeap:
    # In heap order, None where a timer was cancelled: what `loop._scheduled` shows.
    cdef list handles
    # The due time of each, and the number of times for which there is memory.
    cdef double *times
    cdef Py_ssize_t capacity
    # May somebody have changed `handles` or a time without the heap's knowledge?
    cdef bint shared

    cdef list share(self, object loop)
    cdef int replace(self, list handles) except -1
    cdef int push(self, TimerHandle handle) except -1
    cdef double first_time(self) except? -1
    cdef object pop(self)
    cdef int vacate(self, TimerHandle handle) except -1
    cdef Py_ssize_t drop_cancelled_first(self) except -1
    cdef int drop_cancelled(self) except -1
    cdef Py_ssize_t move_cancelled_last(self) noexcept
    cdef int refresh(self) except -1
    cdef int grow(self, Py_ssize_t capacity) except -1
    cdef int shrink(self, Py_ssize_t capacity) except -1
