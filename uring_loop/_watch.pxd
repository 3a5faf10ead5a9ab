from uring_loop._loop cimport LoopCore
from uring_loop._ring cimport Operation


cdef class Watch(Operation):
    cdef LoopCore loop
    cdef object selector
    cdef object handle
    cdef int fd
    cdef unsigned event
    cdef bint wanted

    cdef int report(self) except -1
