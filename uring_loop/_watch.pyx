"""Readiness of descriptors (add_reader, add_writer) as poll operations on the ring.

asyncio keeps its readers and writers in a selector. `RingSelector` is one, as far as
registering goes: it has no select(), since the loop hears of readiness by completions.
A one-shot POLL_ADD fires at once if the descriptor is ready already. So arming it
again after each callback gives the level-triggered reports that epoll gives asyncio;
a multishot poll would not, since it reports changes only.
"""

cimport cython

import os
import select
import selectors
import stat
from errno import EPERM

from libc.errno cimport EBADF

from uring_loop._loop cimport LoopCore
from uring_loop._ring cimport Operation
from uring_loop._uapi cimport io_uring_prep_poll_add, io_uring_sqe

cdef extern from "<poll.h>":
    enum:
        POLLIN
        POLLOUT

cdef unsigned READ = selectors.EVENT_READ
cdef unsigned WRITE = selectors.EVENT_WRITE


@cython.final
cdef class Watch(Operation):
    """A poll of one descriptor, armed again after each report."""

    def __cinit__(self, LoopCore loop not None, int fd, data):
        self.loop = loop
        self.fd = fd
        self.data = data

    cdef unsigned poll_mask(self) noexcept:
        # Arithmetic only: cannot raise.
        return ((POLLIN if self.events & READ else 0)
                | (POLLOUT if self.events & WRITE else 0))

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.fd, self.poll_mask())
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # EBADF: the descriptor was closed behind our back. epoll goes silent, too.
        if not self.events or self.loop._closed or res == -EBADF:
            return 0
        try:
            if res >= 0:
                self.report(res)
        finally:
            if self.events:
                self.loop.ring.prepare(self)
        return 0

    cdef int report(self, unsigned mask) except -1:
        """Run the callbacks, as BaseSelectorEventLoop._process_events would: an error
        or a hang-up concerns both, and the reader comes first."""
        cdef object reader, writer
        reader, writer = self.data
        if mask & ~<unsigned>POLLOUT and self.events & READ:
            self.run(reader)
        if mask & ~<unsigned>POLLIN and self.events & WRITE:
            self.run(writer)
        return 0

    cdef int run(self, handle) except -1:
        self.handle = handle
        if not handle._cancelled:
            handle._run()
        return 0

    def start(self, unsigned events):
        self.events = events
        self.loop.prepare(self)

    def change(self, unsigned events, data):
        """Watch for these from now on; in its own callback, from its end on."""
        self.data = data
        if events != self.events:
            self.events = events
            if self.in_flight:
                self.loop.ring.update_poll(self, self.poll_mask())

    def stop(self):
        """Report no more. Submitted at once: the request holds the file, and a
        close() of the descriptor would not reach its peer before it has ended."""
        self.events = 0
        if self.in_flight:
            self.loop.cancel(self)
            self.loop.flush_ring()

    def __repr__(self):
        return f"<Watch fd={self.fd} {self.handle!r}>"


class RingSelector(selectors._BaseSelectorImpl):
    """What asyncio registers its readers and writers with."""

    def __init__(self, loop):
        super().__init__()
        self._loop = loop
        self._watches = {}

    def register(self, fileobj, events, data=None):
        key = super().register(fileobj, events, data)
        try:
            refuse_files(key.fd)
        except BaseException:
            super().unregister(fileobj)
            raise
        watch = self._watches[key.fd] = Watch(self._loop, key.fd, data)
        watch.start(events)
        return key

    def unregister(self, fileobj):
        key = super().unregister(fileobj)
        self._watches.pop(key.fd).stop()
        return key

    def modify(self, fileobj, events, data=None):
        key = self.get_key(fileobj)._replace(events=events, data=data)
        self._fd_to_key[key.fd] = key
        self._watches[key.fd].change(events, data)
        return key

    def select(self, timeout=None):
        raise RuntimeError("readiness is reported by the ring, not by select()")


def refuse_files(fd):
    """EPERM for files and directories, as epoll says; poll would call them ready."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        raise PermissionError(EPERM, os.strerror(EPERM))
    if stat.S_ISCHR(mode):
        # A terminal will do, /dev/null will not: epoll itself knows.
        with select.epoll(1) as judge:
            judge.register(fd, 0)
