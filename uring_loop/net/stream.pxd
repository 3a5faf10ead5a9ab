from uring_loop.driver.ring cimport Operation
from uring_loop.net.stream_writer cimport StreamWriter
from uring_loop.net.tls cimport SSLCore


cdef class ReceiveOperation(Operation):
    cdef StreamTransport stream

    cdef int on_result(self, int res, unsigned flags) except -1


cdef class StreamTransport(StreamWriter):
    cdef bint buffered
    # The protocol, if it is ours.
    cdef SSLCore tls
    # The iteration that last brought data.
    cdef unsigned long data_step
    cdef int full_count
    cdef int short_count
    # Of the last read in bulk.
    cdef int last_size

    cdef int received(self, int size, unsigned flags) except -1
    cdef int keep_data(self, bytes data) except -1
    cdef int keep_end(self, int res) except -1
    cdef int fail_again(self) except -1
    cdef int deliver_later(self) except -1
    cdef int note_size(self, int size) except -1
    cdef int ended(self, int res) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int delivery_failed(self, context) except -1
    cdef int deliver_end(self, int res) except -1
    cdef int deliver_error(self, int res) except -1
    cdef int deliver_eof(self, int res) except -1
    cdef int fill_buffer(self, const char *data, Py_ssize_t size) except -1
    cdef int put_back(self, const char *data, Py_ssize_t size) except -1
    cdef bint borrow_buffer(self, Py_buffer *view) except -1
    cdef int tell_updated(self, const char *data, Py_ssize_t size) except -1
    cdef ssize_t read_bulk(self) except? -1
    cdef ssize_t read_direct(self, char *memory) except? -1
    cdef ssize_t read_bulk_buffered(self) except? -1
    cdef ssize_t read_bulk_tls(self) except? -1
    cdef int note_short(self, Py_ssize_t size) except -1
