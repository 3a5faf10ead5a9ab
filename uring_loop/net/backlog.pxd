cdef class Backlog:
    cdef object chunks
    # Of the first chunk: what has been sent already.
    cdef Py_ssize_t offset
    cdef readonly Py_ssize_t bytes_count

    cdef int append(self, bytes data, Py_ssize_t sent) except -1
    cdef Py_ssize_t send(self, int fd) except? -1
    cdef int drop(self, Py_ssize_t sent) except -1


cdef Py_ssize_t send_bytes(int fd, const char *data, Py_ssize_t size) noexcept
