from uring_loop.scheduler.handles cimport TimerHandle


cdef int push_timer(list heap, TimerHandle handle) except -1
cdef object pop_timer(list heap)
cdef double when_at(list heap, Py_ssize_t i) except? -1
cdef list without_cancelled(list heap)
cdef bint is_cancelled(handle) except -1
