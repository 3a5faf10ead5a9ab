cdef double monotonic() noexcept nogil
cdef double clock_time() except? -1
cdef object clock_value()
