"""Readiness of descriptors (add_reader, add_writer): an epoll set that the ring polls.

What asyncio promises of a watch is what epoll does: levels, one report for each
iteration, a descriptor closed or replaced behind its back, files refused. So the set is
epoll's, and one poll on the ring ends the loop's sleep when anything in it is ready.
Then `look` asks for what is ready, runs the callbacks, and looks again in the next
iteration, without the ring: while descriptors stay ready, an iteration costs one
`epoll_wait`. When nothing is ready any more, the ring is asked to poll again.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.errno cimport EINTR, errno

import asyncio
import selectors
from asyncio import format_helpers

from uring_loop.driver.capi cimport PyContext_CopyCurrent
from uring_loop.driver.libc cimport (
    EPOLLIN, EPOLLOUT, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD,
    close_fd, epoll_create1, epoll_ctl, epoll_event, epoll_wait)
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport io_uring_prep_poll_add, io_uring_sqe
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport LoopCore, Watcher

cdef enum:
    FIRST_ROOM = 16

# Kept: whoever puts our loop into asyncio's place must not make it its own parent.
StockLoop = asyncio.SelectorEventLoop


@cython.final
cdef class Watch:
    """A descriptor with the handles of its reader and its writer."""

    cdef unsigned mask(self) noexcept:
        # Arithmetic only: cannot raise.
        return ((EPOLLIN if self.reader is not None else 0)
                | (EPOLLOUT if self.writer is not None else 0))

    @property
    def key(self):
        """As a selector would describe it."""
        cdef unsigned events = (
            (selectors.EVENT_READ if self.reader is not None else 0)
            | (selectors.EVENT_WRITE if self.writer is not None else 0))
        return selectors.SelectorKey(
            self.fileobj, self.fd, events, (self.reader, self.writer))


@cython.final
cdef class WatchSet(Watcher):
    """The watches of one loop, and the ring's poll of their epoll set."""

    def __cinit__(self, LoopCore loop not None):
        self.loop = loop
        self.watches = {}
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise os_error(-errno)
        loop.watcher = self

    # ---- what the loop asks for

    cdef Handle add(self, fileobj, bint writing, callback, tuple args):
        """Call back while it is ready. A callback that was there is cancelled."""
        cdef Handle handle = make_handle(self.loop, callback, args)
        cdef int fd = self.number(fileobj)
        cdef Watch watch = self.watches.get(fd)
        cdef Handle before = None
        cdef unsigned mask
        if watch is None:
            watch = Watch.__new__(Watch)
            watch.fileobj = fileobj
            watch.fd = fd
            put(watch, writing, handle)
            self.control(EPOLL_CTL_ADD, watch)
            self.watches[fd] = watch
            self.make_room()
        else:
            mask = watch.mask()
            before = put(watch, writing, handle)
            if watch.mask() != mask:
                self.control(EPOLL_CTL_MOD, watch)
            if before is not None:
                before.cancel()
        if not (self.in_flight or self.loop.watches_due):
            self.loop.ring.prepare(self)
        return handle

    cdef bint remove(self, fileobj, bint writing) except -1:
        """Call back no more; False if nobody was to be called."""
        cdef int fd = self.number(fileobj)
        cdef Watch watch = self.watches.get(fd)
        cdef Handle before
        if watch is None:
            return False
        before = put(watch, writing, None)
        if watch.mask() == 0:
            del self.watches[fd]
            self.control(EPOLL_CTL_DEL, watch)
        elif before is not None:
            self.control(EPOLL_CTL_MOD, watch)
        if before is None:
            return False
        before.cancel()
        return True

    cdef int remove_handle(self, int fd, bint writing, Handle handle) except -1:
        """remove(), but only of this handle: the descriptor's file may have changed."""
        cdef Watch watch = self.watches.get(fd)
        handle.cancel()
        if watch is not None and handle is (watch.writer if writing else watch.reader):
            try:
                self.remove(fd, writing)
            except OSError:
                # The file is closed, and epoll has forgotten it, as control() has now.
                pass
        return 0

    cdef int number(self, fileobj) except -1:
        """Its descriptor; that of a closed file, too, as long as it is watched."""
        cdef Watch watch
        if type(fileobj) is int and fileobj >= 0:
            return fileobj
        try:
            return selectors._fileobj_to_fd(fileobj)
        except ValueError:
            for watch in self.watches.values():
                if watch.fileobj is fileobj:
                    return watch.fd
            raise

    cdef int control(self, int how, Watch watch) except -1:
        """Tell epoll. As in asyncio's selector an error forgets the watch, and one
        that is to go may be gone already: its file was closed."""
        cdef epoll_event event
        if self.loop.ring.is_forked():
            # The set is the parent's as well.
            return 0
        event.events = watch.mask()
        event.data.fd = watch.fd
        if epoll_ctl(self.fd, how, watch.fd, &event) < 0 and how != EPOLL_CTL_DEL:
            error = os_error(-errno)
            self.watches.pop(watch.fd, None)
            raise error
        return 0

    cdef int make_room(self) except -1:
        """For what epoll can report at once: everything."""
        cdef epoll_event *memory
        cdef Py_ssize_t room = self.room * 2 or FIRST_ROOM
        if self.room >= len(self.watches):
            return 0
        memory = <epoll_event *>PyMem_Realloc(self.reported, room * sizeof(epoll_event))
        if memory == NULL:
            raise MemoryError
        self.reported = memory
        self.room = room
        return 0

    def close(self):
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1
        self.watches.clear()

    def __dealloc__(self):
        # Of a loop that was never closed.
        if self.fd >= 0:
            close_fd(self.fd)
        PyMem_Free(self.reported)

    # ---- what is ready

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.fd, EPOLLIN)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # An error, such as that of a thread that has ended, is one more reason to look.
        self.loop.watches_due = True
        return 0

    cdef int look(self) except -1:
        """Run the callbacks of what is ready. As long as something is, even if a
        KeyboardInterrupt leaves one of them, the next iteration looks again."""
        cdef int count = 0
        if self.watches:
            count = epoll_wait(self.fd, self.reported, <int>self.room, 0)
            if count < 0 and errno != EINTR:
                raise os_error(-errno)
        if count == 0:
            self.loop.watches_due = False
            if not self.in_flight:
                self.loop.ring.prepare(self)
        if count == 1:
            return self.call_one()
        return self.call_all(count)

    cdef int call_one(self) except -1:
        cdef Watch watch = self.reported_watch(0)
        cdef Handle reader = self.ready_handle(watch, 0, False)
        cdef Handle writer = self.ready_handle(watch, 0, True)
        if reader is not None:
            self.loop.run_one(reader)
        if writer is not None:
            self.loop.run_one(writer)
        return 0

    cdef int call_all(self, int count) except -1:
        """Find out all, then call, since callbacks add and remove others."""
        cdef list handles = []
        cdef Watch watch
        cdef int i
        for i in range(count):
            watch = self.reported_watch(i)
            handles.append(self.ready_handle(watch, i, False))
            handles.append(self.ready_handle(watch, i, True))
        for handle in handles:
            if handle is not None:
                self.loop.run_one(handle)
        return 0

    cdef Watch reported_watch(self, int place):
        return self.watches.get(self.reported[place].data.fd)

    cdef Handle ready_handle(self, Watch watch, int place, bint writing):
        """Whom to call for the event in this place, as asyncio's _process_events finds
        it: an error or a hang-up concerns both, and the reader comes first."""
        cdef unsigned others = EPOLLIN if writing else EPOLLOUT
        cdef Handle handle
        if watch is None or not self.reported[place].events & ~others:
            return None
        handle = watch.writer if writing else watch.reader
        if handle is not None and handle._cancelled:
            # By itself, not by a removal, which is due now.
            self.remove(watch.fd, writing)
            return None
        return handle

    def __repr__(self):
        return f"<WatchSet of {len(self.watches)}>"


cdef Handle make_handle(LoopCore loop, callback, tuple args):
    cdef Handle handle = Handle.__new__(Handle)
    handle._callback = callback
    handle._args = args
    handle._loop = loop
    handle._context = PyContext_CopyCurrent()
    if loop.debug:
        handle._source_traceback = format_helpers.extract_stack()
    return handle


cdef Handle put(Watch watch, bint writing, Handle handle):
    """Put a handle in its place; returns what was there."""
    cdef Handle before = watch.writer if writing else watch.reader
    if writing:
        watch.writer = handle
    else:
        watch.reader = handle
    return before


# ---- methods of the loop: on the selector backend they are asyncio's --------------

def _add_reader(LoopCore self not None, fd, callback, *args):
    if self.ring is None:
        return StockLoop._add_reader(self, fd, callback, *args)
    return add(self, fd, False, callback, args)


def _add_writer(LoopCore self not None, fd, callback, *args):
    if self.ring is None:
        return StockLoop._add_writer(self, fd, callback, *args)
    return add(self, fd, True, callback, args)


def _remove_reader(LoopCore self not None, fd):
    if self.ring is None:
        return StockLoop._remove_reader(self, fd)
    return not self._closed and (<WatchSet>self.watcher).remove(fd, False)


def _remove_writer(LoopCore self not None, fd):
    if self.ring is None:
        return StockLoop._remove_writer(self, fd)
    return not self._closed and (<WatchSet>self.watcher).remove(fd, True)


cdef Handle add(LoopCore loop, fd, bint writing, callback, tuple args):
    if loop._closed:
        loop._check_closed()
    return (<WatchSet>loop.watcher).add(fd, writing, callback, args)


class RingSelector(selectors.BaseSelector):
    """What asyncio's transports and tools see of the watches: a selector that cannot
    select, since the loop hears of readiness by completions."""

    def __init__(self, watch_set):
        self._watch_set = watch_set

    def get_map(self):
        return {fd: watch.key for fd, watch in self._watch_set.watches.items()}

    def get_key(self, fileobj):
        """By file or by number, as the mapping of asyncio's selector."""
        try:
            return self.get_map()[selectors._fileobj_to_fd(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def register(self, fileobj, events, data=None):
        raise RuntimeError("watches are added by add_reader() and add_writer()")

    def unregister(self, fileobj):
        raise RuntimeError("watches are removed by remove_reader() and remove_writer()")

    def select(self, timeout=None):
        raise RuntimeError("readiness is reported by the ring, not by select()")

    def close(self):
        self._watch_set.close()
