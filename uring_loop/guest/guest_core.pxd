from uring_loop.driver.ring cimport Ring
from uring_loop.scheduler.loop_core cimport LoopCore

from libc.stdint cimport int64_t


cdef class GuestCore:
    cdef readonly LoopCore loop
    # The ring that writes to the eventfd; another one after a change of thread.
    cdef Ring told
    cdef int event_fd
    cdef int64_t budget_ns
    # How often a callback, or paused(), keeps the loop from being run.
    cdef int held_count
    # In the middle of an iteration: the handles, completions and timers that it has
    # still to run are those of loop.todo, `portions` and loop.due.
    cdef bint midway
    # stop() was called, and the host has been told.
    cdef bint stopped
    cdef Py_ssize_t portions
    # Have the watches had their turn in this iteration?
    cdef bint has_looked

    cdef int claim(self) except -1
    cdef int wake_fd(self) noexcept
    cdef int follow_set(self) except -1
    cdef int drain(self) except -1
    cdef bint has_work(self) except -1
    cdef int turn(self) except -1
    cdef bint step(self, int64_t end) except -1
    cdef int begin_step(self) except -1
    cdef Py_ssize_t completions_portions(self) except -1
    cdef int look(self) except -1


cdef class Turn:
    cdef object function
    cdef object interrupted
