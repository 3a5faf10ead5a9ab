from uring_loop.scheduler.handles cimport TimerHandle


cdef class TimerHeap:
    # In heap order, with None for a cancelled timer; `loop._scheduled` shows this list.
    cdef list handles
    # The due time of each entry, and the allocated length of that array.
    cdef double *times
    cdef Py_ssize_t capacity
    # May a program have changed `handles` or a due time without the heap's knowledge?
    cdef bint shared

    cdef list share(self, object loop)
    cdef int replace(self, list handles) except -1
    cdef Py_ssize_t count(self) except -1
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
