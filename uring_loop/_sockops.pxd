from uring_loop._loop cimport LoopCore
from uring_loop._ring cimport Operation


cdef class SocketWait(Operation):
    cdef LoopCore loop
    cdef object waiter
    cdef int fd
    cdef unsigned events
