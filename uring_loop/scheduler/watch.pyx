"""A watched descriptor, and what may stand in its slots beside a user's handle."""

cimport cython
from libc.stdint cimport uint64_t

import selectors

from uring_loop.driver.libc cimport EPOLLIN, EPOLLOUT
from uring_loop.scheduler.handles cimport Handle


cdef class Waiter:
    """Compiled code that waits for a descriptor, in the slot of a reader or writer."""

    cdef int on_ready(self) except -1:
        """The descriptor is ready. The waiter stays in its slot until it calls
        `leave`."""
        raise NotImplementedError

    def _run(self):
        # LoopCore.run_slowly() calls this method of handles and waiters.
        self.on_ready()


@cython.final
cdef class Watch:
    """A descriptor with its two slots and its registration in the epoll set."""

    cdef unsigned mask(self) noexcept:
        """The events of the filled slots."""
        # Arithmetic only: cannot raise.
        return ((EPOLLIN if self.reader is not None else 0)
                | (EPOLLOUT if self.writer is not None else 0))

    cdef bint has_handle(self) noexcept:
        """Is a callback of the user in a slot?"""
        # Type checks only: cannot raise.
        return isinstance(self.reader, Handle) or isinstance(self.writer, Handle)

    cdef uint64_t tag(self) noexcept:
        """The data that epoll reports with the events of this registration."""
        # Arithmetic only: cannot raise.
        return <uint64_t>self.generation << 32 | <unsigned>self.fd

    @property
    def key(self):
        """The watch as a selector's key."""
        cdef unsigned events = (
            (selectors.EVENT_READ if self.reader is not None else 0)
            | (selectors.EVENT_WRITE if self.writer is not None else 0))
        return selectors.SelectorKey(
            self.fileobj, self.fd, events, (self.reader, self.writer))
