from uring_loop.driver.libc cimport epoll_event
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport LoopCore, Watcher

cdef class Watch:
    cdef object fileobj
    cdef int fd
    cdef Handle reader
    cdef Handle writer

    cdef unsigned mask(self) noexcept


cdef class WatchSet(Watcher):
    cdef LoopCore loop
    # Descriptor -> Watch: what the epoll set holds.
    cdef readonly dict watches
    cdef int fd
    # Where epoll reports what is ready, and for how many there is room.
    cdef epoll_event *reported
    cdef Py_ssize_t room

    cdef int sleep(self, timeout) except -1
    cdef Handle add(self, fileobj, bint writing, callback, tuple args)
    cdef bint remove(self, fileobj, bint writing) except -1
    cdef int number(self, fileobj) except -1
    cdef int control(self, int how, Watch watch) except -1
    cdef int make_room(self) except -1
    cdef int call_one(self) except -1
    cdef int call_all(self, int count) except -1
    cdef Watch reported_watch(self, int place)
    cdef Handle ready_handle(self, Watch watch, int place, bint writing)
