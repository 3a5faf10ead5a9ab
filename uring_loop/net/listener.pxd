from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watches cimport Waiter


cdef class Listener(Waiter):
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
    # How many connections one report may bring.
    cdef Py_ssize_t backlog
    cdef bint wanted
    # How many connections in a row came alone; after how many it gives way to others,
    # 0 while no others are known; WatchSet.vain_count when it last looked.
    cdef int wins
    cdef int patience
    cdef unsigned long vain_seen

    cdef int accepted(self, int fd) except -1
    cdef int make_task(self, int fd) except -1
    cdef int make_transport(self, int fd) except -1
    cdef bint has_company(self) except -1
    cdef Py_ssize_t accept_some(self) except -1
    cdef int notice_rivals(self, Py_ssize_t count) except -1
    cdef int give_way(self) except -1
    cdef int failed(self, int error) except -1
