from uring_loop.driver.ring cimport Operation
from uring_loop.scheduler.loop_core cimport LoopCore


cdef class SocketWait(Operation):
    cdef LoopCore loop
    cdef object waiter
    cdef int fd
    cdef unsigned events


cdef SocketWait begin_wait(LoopCore loop, int fd, unsigned events)
cdef int end_wait(SocketWait wait) except -1
cdef bint is_plain(LoopCore loop, sock) except -1
