from uring_loop.driver.ring cimport Operation
from uring_loop.scheduler.loop_core cimport LoopCore


cdef class AcceptOperation(Operation):
    cdef LoopCore loop
    cdef object sock
    cdef object protocol_factory
    cdef object server
    cdef object context
    cdef dict serving
    cdef int fd
    # Of the sockets accepted; asking the socket module makes an enum each time.
    cdef int family
    cdef int kind
    cdef int proto
    cdef bint wanted

    cdef int accepted(self, int fd) except -1
    cdef int make_task(self, int fd) except -1
    cdef int make_transport(self, int fd) except -1
    cdef int moved(self) except -1
    cdef int failed(self, int res) except -1
