from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watch cimport Waiter


cdef class SocketWait(Waiter):
    cdef LoopCore loop
    cdef object future
    cdef int fd
    cdef bint writing


cdef SocketWait begin_wait(LoopCore loop, sock, bint writing, bint trusting)
cdef SocketWait begin_connect_wait(LoopCore loop, sock)
cdef int end_wait(SocketWait wait, bint at_once) except -1
cdef bint is_plain(LoopCore loop, sock) except -1
