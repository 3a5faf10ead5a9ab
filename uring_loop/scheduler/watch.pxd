from libc.stdint cimport uint64_t


cdef class Waiter:
    # Is the waiter in a slot of a watch? WatchSet sets this field.
    cdef readonly bint waiting
    # Does the wait end with the first report, with no other wait expected after it?
    cdef bint once

    cdef int on_ready(self) except -1


cdef class Watch:
    cdef object fileobj
    cdef int fd
    # Each slot holds a Handle, a Waiter or None.
    cdef object reader
    cdef object writer
    # The events of the registration, as far as is known, and its number.
    cdef unsigned registered
    cdef unsigned generation
    # Does the registration end with its first report (EPOLLONESHOT)? `registered` is 0.
    cdef bint is_once
    # A weak reference to the socket object for which the registration was made.
    cdef object owner
    # Is the watch in WatchSet.doubtful? Has a wait begun since the last check?
    cdef bint is_doubtful
    cdef bint has_begun

    cdef unsigned mask(self) noexcept
    cdef bint has_handle(self) noexcept
    cdef uint64_t tag(self) noexcept
