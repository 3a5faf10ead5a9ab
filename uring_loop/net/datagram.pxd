from uring_loop.driver.libc cimport msghdr
from uring_loop.driver.ring cimport Operation
from uring_loop.net.address cimport AddressBook
from uring_loop.net.transport cimport Transport


cdef class ReceiveMessages(Operation):
    cdef DatagramTransport transport
    cdef msghdr template

    cdef int on_result(self, int res, unsigned flags) except -1


cdef class DatagramTransport(Transport):
    # Where datagrams go if remote_addr was given; None: sendto() says.
    cdef object address
    # None for other families than the Internet's.
    cdef AddressBook book
    cdef unsigned name_bytes
    # Others may have the socket, too: nothing of ours is in flight on it.
    cdef bint shared
    cdef bint reader_added
    cdef bint writer_added
    cdef object backlog
    cdef Py_ssize_t backlog_bytes

    cdef int received(self, int res, unsigned flags) except -1
    cdef int deliver(self, bytes data, address) except -1
    cdef int tell_error(self, exc) except -1
    cdef int callback_failed(self, method, tuple args, exc) except -1
    cdef bint send_now(self, data, address) except -1
    cdef int keep(self, bytes data, address) except -1
    cdef int backlog_sent(self) except -1
    cdef int unwatch_writable(self) except -1
