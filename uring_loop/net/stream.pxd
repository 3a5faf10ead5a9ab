from uring_loop.driver.ring cimport Operation
from uring_loop.net.backlog cimport Backlog
from uring_loop.net.tls cimport SSLCore
from uring_loop.net.transport cimport Transport


cdef class ReceiveOperation(Operation):
    cdef StreamTransport stream

    cdef int on_result(self, int res, unsigned flags) except -1


cdef class StreamTransport(Transport):
    # Reading.
    cdef bint buffered
    # The protocol, if it is ours.
    cdef SSLCore tls
    cdef int pending_end
    # The iteration that last brought data.
    cdef unsigned long data_step
    cdef int full_count
    cdef int short_count
    # Of the last read in bulk.
    cdef int last_size

    # Writing.
    cdef Backlog backlog
    cdef bint eof_asked
    cdef object empty_waiter

    cdef int received(self, int size, unsigned flags) except -1
    cdef int note_size(self, int size) except -1
    cdef int ended(self, int res) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int deliver_end(self, int res) except -1
    cdef int fill_buffer(self, const char *data, Py_ssize_t size) except -1
    cdef int put_back(self, bytes data) except -1
    cdef bint borrow_buffer(self, Py_buffer *view) except -1
    cdef int tell_updated(self, const char *data, Py_ssize_t size) except -1
    cdef ssize_t read_bulk(self) except? -1
    cdef ssize_t read_direct(self, char *memory) except? -1
    cdef ssize_t read_bulk_buffered(self) except? -1
    cdef int note_short(self, Py_ssize_t size) except -1

    cdef bint may_write(self, data) except -1
    cdef int write_memory(self, bytes owner, const char *data,
                          Py_ssize_t size) except -1
    cdef int hold_back(self, bytes data) except -1
    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -2
    cdef int send_backlog(self) except -1
    cdef int backlog_sent(self) except -1
    cdef int send_failed(self, exc) except -1
