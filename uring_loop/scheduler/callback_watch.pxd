from uring_loop.scheduler.handles cimport HandleOwner


cdef class CallbackWatch:
    # Called for each callback that took `seconds`; None: nobody asks.
    cdef readonly object report
    cdef double seconds
    cdef readonly double busy_seconds

    cdef int took(
        self, HandleOwner loop, what, double start, double seconds) except -1
    cdef int call_report(self, loop, what, double start, double seconds) except -1
