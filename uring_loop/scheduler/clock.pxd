cdef double monotonic() noexcept nogil
cdef double clock_time() except? -1
cdef object clock_value()
cdef double end_of_due(double now, double resolution) noexcept
