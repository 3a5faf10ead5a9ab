from libc.stdint cimport int64_t


cdef class Writer:
    # The link of HeldWrites' list.
    cdef Writer next_held
    # Does something of this writer wait in the list?
    cdef bint is_held

    cdef int send_held(self) except -1


cdef class HeldWrites:
    # The option gather_writes.
    cdef public bint wanted
    # May a write be held now? Only in an iteration of the loop.
    cdef bint open
    # Leave when the callback returns, not when the iteration ends?
    cdef bint until_return
    cdef Writer first
    cdef Writer last
    # When the first write of the list began to wait, and the last look at the clock.
    cdef int64_t since_ns
    cdef int64_t checked_ns
    # Until when nothing is held, 0: no pause; and how long the last pause was.
    cdef int64_t paused_until_ns
    cdef int64_t pause_ns

    cdef int begin(self) except -1
    cpdef int finish(self) except -1
    cdef int add(self, Writer writer, bint until_return) except -1
    cdef int callback_returned(self) except -1
    cpdef int flush(self) except -1
    cdef Writer pop(self)
    cdef int pause(self, int64_t now, int64_t took_ns) except -1
