from uring_loop.net.ssl_connection cimport SSLConnection


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
    # The data of the connection by OpenSSL; None: by ssl, as in every handshake.
    cdef SSLConnection connection
    # Is the transport below one of ours?
    cdef bint over_stream
    # The water marks as C doubles: asyncio accepts any type of number.
    cdef double incoming_high
    cdef double incoming_low
    cdef double outgoing_high
    cdef double outgoing_low

    cdef int use_openssl(self) except -1
    cdef bint takes_data(self) noexcept
    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int read_again(self) except -1
    cdef int read_available(self, const char *data, Py_ssize_t size) except -1
    cdef int read_plaintext(self, const char *data, Py_ssize_t size) except -1
    cdef int read_records(self) except -1
    cdef int read_buffered(self) except -1
    cdef Py_ssize_t next_read_bytes(self, bint filled) except -1
    cdef int end_received(self) except -1
    cdef bint may_write(self) except -1
    cdef int write_bytes(self, bytes data) except -1
    cdef Py_ssize_t encrypt(self, data) except -1
    cdef int send_outgoing(self) except -1
    cdef int send_chunks(self, list chunks) except -1
    cdef int send_collected(self) except -1
    cdef int send_memory(self, Py_ssize_t size) except -1
    cdef Py_ssize_t incoming_bytes(self) except -1
    cdef Py_ssize_t kept_output(self) except -1
    cdef Py_ssize_t outgoing_bytes(self) except -1
    cdef int control_reading(self) except -1
