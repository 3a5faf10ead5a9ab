from uring_loop.net.backlog cimport Backlog
from uring_loop.net.transport cimport Transport


cdef class StreamWriter(Transport):
    # What the socket has not taken yet, or several held pieces; None: nothing.
    cdef Backlog backlog
    # A single held piece, and the context of the first write that is held.
    cdef bytes held_data
    cdef object held_context
    cdef bint eof_asked
    # Error of a receive that has ended, not delivered yet; not below 0: there is none.
    cdef int pending_end
    cdef object empty_waiter
    # Is the protocol our TLS?
    cdef bint secured

    cdef bint may_write(self, data) except -1
    cdef int write_memory(self, bytes owner, const char *data,
                          Py_ssize_t size) except -1
    cdef int write_chunks(self, list chunks) except -1
    cdef int send_chunks(self, list chunks) except -1
    cdef int write_now(self, bytes owner, const char *data, Py_ssize_t size) except -1
    cdef int keep(self, bytes owner, const char *data, Py_ssize_t size,
                  Py_ssize_t sent) except -1
    cdef int add_to_backlog(self, bytes owner, const char *data, Py_ssize_t size,
                            Py_ssize_t sent) except -1
    cdef int hold_back(self, bytes owner, const char *data, Py_ssize_t size) except -1
    cdef int hold_first(self, bytes owner, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t hold_more(self, bytes owner, const char *data,
                              Py_ssize_t size) except -1
    cdef int send_rest(self, bytes data, Py_ssize_t sent) except -1
    cdef void count_sent(self, Py_ssize_t sent) noexcept
    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -2
    cdef int send_backlog(self) except -1
    cdef int backlog_sent(self) except -1
    cdef int send_failed(self, exc) except -1
    cdef object send_error(self, Py_ssize_t res)
    cdef int end_writing(self) except -1
