"""Readiness of descriptors (add_reader, add_writer) as poll operations on the ring.

asyncio keeps its readers and writers in a selector. `RingSelector` is one, as far as
registering goes: it has no select(), since the loop hears of readiness by completions.
A one-shot POLL_ADD fires at once if the descriptor is ready already. So arming it
again after each callback gives the level-triggered reports that epoll gives asyncio;
a multishot poll would not, since it reports changes only.
"""

cimport cython

import os
import selectors
import stat
from errno import EPERM

from libc.errno cimport EBADF

from uring_loop._loop cimport LoopCore
from uring_loop._ring cimport Operation
from uring_loop._uapi cimport ECANCELED, io_uring_prep_poll_add, io_uring_sqe

cdef extern from "<poll.h>":
    enum:
        POLLIN
        POLLOUT

cdef unsigned READ = selectors.EVENT_READ
cdef unsigned WRITE = selectors.EVENT_WRITE


@cython.final
cdef class Watch(Operation):
    """One direction of one descriptor, armed again after each report."""

    def __cinit__(self, selector not None, LoopCore loop not None, int fd,
                  unsigned event):
        self.selector = selector
        self.loop = loop
        self.fd = fd
        self.event = event
        self.wanted = True

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.fd, POLLIN if self.event == READ else POLLOUT)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # EBADF: the descriptor was closed behind our back. epoll goes silent, too.
        if not self.wanted or self.loop._closed or res == -EBADF:
            return 0
        try:
            if res != -ECANCELED:
                self.report()
        finally:
            if self.wanted:
                self.loop.ring.prepare(self)
        return 0

    cdef int report(self) except -1:
        """Run the callback, as BaseSelectorEventLoop._process_events would."""
        reader, writer = self.selector.get_map()[self.fd].data
        self.handle = reader if self.event == READ else writer
        if self.handle is None:
            return 0
        if not self.handle._cancelled:
            self.handle._run()
        elif self.event == READ:
            self.loop._remove_reader(self.fd)
        else:
            self.loop._remove_writer(self.fd)
        return 0

    def drop(self):
        """Report no more. Submitted at once: the request holds the file, and a
        close() of the descriptor would not reach its peer before it has ended."""
        self.wanted = False
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
        except OSError:
            super().unregister(fileobj)
            raise
        self._arm(key.fd, events)
        return key

    def unregister(self, fileobj):
        key = super().unregister(fileobj)
        self._arm(key.fd, 0)
        return key

    def modify(self, fileobj, events, data=None):
        key = self.get_key(fileobj)._replace(events=events, data=data)
        self._fd_to_key[key.fd] = key
        self._arm(key.fd, events)
        return key

    def select(self, timeout=None):
        raise RuntimeError("readiness is reported by the ring, not by select()")

    def _arm(self, fd, events):
        for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
            watch = self._watches.get((fd, event))
            if events & event and watch is None:
                watch = self._watches[fd, event] = Watch(self, self._loop, fd, event)
                self._loop.prepare(watch)
            elif not events & event and watch is not None:
                del self._watches[fd, event]
                watch.drop()


def refuse_files(fd):
    """EPERM for files and directories, as epoll says; poll would call them ready."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        raise PermissionError(EPERM, os.strerror(EPERM))
