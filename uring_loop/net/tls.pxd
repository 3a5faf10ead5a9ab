cdef class SSLCore:
    # The stdlib's SSLProtocol writes or reads these: see docs/stdlib-hooks.md.
    cdef public object _loop
    cdef public object _transport
    cdef public object _app_protocol
    cdef public object _incoming
    cdef public object _outgoing
    cdef public object _state
    cdef public object _ssl_buffer_view
    cdef public object _write_backlog
    cdef public object _incoming_high_water
    cdef public object _incoming_low_water
    cdef public object _outgoing_high_water
    cdef public object _outgoing_low_water
    cdef public Py_ssize_t _write_buffer_size
    cdef public bint _app_protocol_is_buffer
    cdef public bint _app_reading_paused
    cdef public bint _app_writing_paused
    cdef public bint _ssl_reading_paused
    cdef public bint _ssl_writing_paused

    # _sslobj, and the methods of its C object.
    cdef object sslobj
    cdef object read_raw
    cdef object write_raw
    cdef object pending_raw
    # The water marks as C doubles: asyncio accepts any type of number.
    cdef double incoming_high
    cdef double incoming_low
    cdef double outgoing_high
    cdef double outgoing_low

    cdef bint takes_data(self) noexcept
    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int read_available(self) except -1
    cdef int read_records(self) except -1
    cdef Py_ssize_t next_read_bytes(self, bint filled) except -1
    cdef bint may_write(self) except -1
    cdef int write_bytes(self, bytes data) except -1
    cdef int send_outgoing(self) except -1
    cdef int control_reading(self) except -1
