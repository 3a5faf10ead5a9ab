from uring_loop.net.libssl cimport openssl_calls


cdef class OutputMemory:
    cdef char *start
    # What is there belongs to a connection, until it has been sent.
    cdef bint busy


cdef class SSLConnection:
    cdef openssl_calls *calls
    # The `_ssl._SSLSocket`: keeps `ssl` alive, which owns `lent`.
    cdef object raw
    cdef void *ssl
    # A lending_bio of openssl_bio.h.
    cdef void *lent
    cdef OutputMemory output
    # Records of long writes that wait to be sent, or None, and their size.
    cdef list chunks
    cdef Py_ssize_t chunk_bytes
    # The peer has sent close_notify.
    cdef bint ended

    cdef Py_ssize_t kept_input(self) noexcept
    cdef Py_ssize_t kept_output(self) noexcept
    cdef int look_for_input(self) noexcept
    cdef int keep_input(self, const char *data, Py_ssize_t size) except -1
    cdef bytes decrypt(self, const char *data, Py_ssize_t size)
    cdef bytes read(self)
    cdef Py_ssize_t fill(self, char *to, Py_ssize_t size, bint *more) except -1
    cdef Py_ssize_t read_failed(self, char *to, Py_ssize_t size) except -1
    cdef int forget_errors(self) noexcept
    cdef Py_ssize_t read_into(self, char *to, Py_ssize_t size) except -1
    cdef Py_ssize_t write(self, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t write_bulk(self, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t encrypt(self, const char *data, Py_ssize_t size) except -1
    cdef bint lend_output(self) noexcept
    cdef Py_ssize_t output_bytes(self) noexcept
    cdef Py_ssize_t take_output(self) noexcept
    cdef int keep_output(self) except -1
    cdef int keep_chunk(self, bytes records) except -1
    cdef list take_chunks(self)

