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
    # Do writes of different callbacks wait for each other in this iteration?
    cdef bint together
    # Leave when the callback returns, not when the iteration ends?
    cdef bint until_return
    cdef Writer first
    cdef Writer last
    cdef int writers_count
    # When the first write of the list began to wait, and the last look at the clock.
    cdef int64_t since_ns
    cdef int64_t checked_ns
    # Quick iterations in a row, and the iterations left in which writes do not wait for
    # each other.
    cdef int quick_count
    cdef int apart_count
    # A pause, in which nothing is held: is there one, when did the last one end, and
    # how long was it?
    cdef bint paused
    cdef int64_t paused_until_ns
    cdef int64_t pause_ns
    # Until when every list is measured; when this was begun for the last one that was,
    # and then the thread's processor time so far and how often it had waited.
    cdef int64_t measured_until_ns
    cdef int64_t measured_from_ns
    cdef int64_t cpu_ns
    cdef long waits_count

    cdef int begin(self) except -1
    cpdef int finish(self) except -1
    cdef int add(self, Writer writer, bint until_return) except -1
    cdef int callback_returned(self) except -1
    cpdef int flush(self) except -1
    cdef Writer pop(self)
    cdef int judge(self) noexcept
    cdef int measure(self, int64_t now) noexcept
    cdef bint was_preempted(self, int64_t now, int64_t took_ns) noexcept
    cdef int pause(self, int64_t now, int64_t took_ns) except -1
