"""Readiness of descriptors (add_reader, add_writer, waits of C code) by an epoll set.

The levels that asyncio promises are epoll's, and an epoll set holds no file: a socket
that is closed while somebody waits for it is closed for its peer. One one-shot poll of
the set on the ring ends the loop's sleep when anything in the set is ready. Then `look`
asks epoll what is ready and runs the callbacks.

Each descriptor has two slots, one for reading and one for writing, as on asyncio: what
comes later takes the place of what was there. A slot holds a user's `Handle`, or a
`Waiter` of ours, such as a call of sock_recv() or a listener.

*Registrations stay.* A waiter that has ended leaves its registration in the epoll set
for the next one; epoll is told when it reports something that nobody waits for. So a
conversation through sock_recv() and sock_sendall() makes no epoll_ctl(2). The
registration may be gone, since the descriptor was closed and its number is that of
another file: then the socket object is another one, too. A number that has got another
file under the same socket object, by os.dup2(), is found by `check_doubtful`.

*Registrations that cannot be removed.* A closed descriptor whose file lives on, in a
duplicate or in a forked child, goes on to be reported, and epoll_ctl(2) cannot name it
any more. Each registration is numbered, so that such a report is recognised; then the
set is made anew.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.weakref cimport PyWeakref_NewRef
from libc.errno cimport EEXIST, EINTR, ENOENT, errno
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint64_t

import selectors
from asyncio import base_events, format_helpers

from uring_loop.driver.capi cimport PyContext_CopyCurrent, PyErr_CheckSignals
from uring_loop.driver.libc cimport (
    EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL,
    EPOLL_CTL_MOD, close_fd, epoll_create1, epoll_ctl, epoll_event, epoll_wait)
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport io_uring_prep_poll_add, io_uring_sqe
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport ASLEEP, AWAKE, LoopCore, Watcher

cdef enum:
    FIRST_ROOM = 16
    # So many reports are each followed by a poll on the ring; then one is followed by
    # another look at once: see `look`.
    REPORTS_UNTIL_LOOK = 16

# How long a wait relies on a registration that nobody has checked, twice at most.
cdef double CHECK_SECONDS = 0.01
cdef object LONGEST_SLEEP = base_events.MAXIMUM_SELECT_TIMEOUT


cdef class Waiter:
    """C code that waits for a descriptor: stands in the slot of a reader or writer."""

    cdef int on_ready(self) except -1:
        """Readiness was reported. The slot is kept: who waits no more calls `leave`."""
        raise NotImplementedError

    def _run(self):
        # For LoopCore.run_slowly, which runs handles.
        self.on_ready()


@cython.final
cdef class Watch:
    """A descriptor with its two slots, and what the epoll set knows of it."""

    cdef unsigned mask(self) noexcept:
        """The events that the slots want."""
        # Arithmetic only: cannot raise.
        return ((EPOLLIN if self.reader is not None else 0)
                | (EPOLLOUT if self.writer is not None else 0))

    cdef bint has_handle(self) noexcept:
        """Is a callback of the user in a slot?"""
        # Type checks only: cannot raise.
        return isinstance(self.reader, Handle) or isinstance(self.writer, Handle)

    cdef uint64_t tag(self) noexcept:
        """What epoll reports of this registration."""
        # Arithmetic only: cannot raise.
        return <uint64_t>self.generation << 32 | <unsigned>self.fd

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
        self.doubtful = []
        self.reports_until_look = REPORTS_UNTIL_LOOK
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise os_error(-errno)
        self.make_room()
        loop.watcher = self

    # ---- callbacks of the user

    cdef Handle add(self, fileobj, bint writing, callback, tuple args):
        """Call back while it is ready. A callback that was there is cancelled."""
        cdef Handle handle = make_handle(self.loop, callback, args)
        cdef int fd = self.number(fileobj)
        cdef Watch watch = self.watches.get(fd)
        cdef unsigned mask
        cdef bint had_handle
        cdef int error
        if watch is None:
            watch = self.new_watch(fileobj, fd)
        mask = watch.mask()
        had_handle = watch.has_handle()
        if mask == 0:
            watch.fileobj = fileobj
        watch.is_once = False
        before = put(watch, writing, handle)
        if not had_handle:
            self.register(watch)
        elif watch.mask() != mask:
            # As asyncio: an error if the number is that of another file by now.
            error = self.control(EPOLL_CTL_MOD, watch)
            if error != 0:
                self.fail(watch, error)
        retire(before)
        self.ensure_poll()
        return handle

    cdef bint remove(self, fileobj, bint writing) except -1:
        """Call back no more; False if nobody was to be called."""
        cdef int fd = self.number(fileobj)
        cdef Watch watch = self.watches.get(fd)
        cdef int error
        if watch is None or (watch.writer if writing else watch.reader) is None:
            return False
        before = put(watch, writing, None)
        error = self.trim(watch)
        if error != 0 and watch.mask() != 0:
            self.fail(watch, error)
        # Without an error the descriptor may have been closed before: as on asyncio.
        retire(before)
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

    # ---- waits of C code

    cdef int wait(self, int fd, bint writing, Waiter waiter, owner,
                  bint trusting) except -1:
        """Put a waiter into the slot.

        owner     the socket object, by which an old registration is recognised; None
                  if there is no such object
        trusting  False if the last report for this wait has brought nothing: then the
                  registration may be that of another file
        """
        cdef Watch watch = self.watches.get(fd)
        if watch is None:
            watch = self.new_watch(fd, fd)
        retire(put(watch, writing, waiter))
        waiter.waiting = True
        watch.is_once = waiter.once and watch.mask() == EPOLLOUT
        if (not trusting or watch.owner is None or watch.owner() is not owner
                or watch.mask() & ~watch.registered):
            watch.owner = None if owner is None else PyWeakref_NewRef(owner, None)
            self.register(watch)
        elif not watch.is_doubtful:
            self.doubt(watch)
        watch.has_begun = True
        self.ensure_poll()
        return 0

    cdef int leave(self, int fd, bint writing, Waiter waiter, bint at_once) except -1:
        """Take a waiter out of its slot, if it is still there; with `at_once` epoll
        hears of it now."""
        cdef Watch watch = self.watches.get(fd)
        waiter.waiting = False
        if watch is None or (watch.writer if writing else watch.reader) is not waiter:
            return 0
        put(watch, writing, None)
        if watch.is_once and not at_once:
            # Reported, and so ended.
            self.watches.pop(fd)
        elif at_once:
            # An error says that the descriptor has been closed.
            self.trim(watch)
        return 0

    # ---- the epoll set

    cdef Watch new_watch(self, fileobj, int fd):
        cdef Watch watch = Watch.__new__(Watch)
        watch.fileobj = fileobj
        watch.fd = fd
        self.watches[fd] = watch
        self.make_room()
        return watch

    cdef int control(self, int how, Watch watch) noexcept:
        """Tell epoll what the slots want; 0 or errno."""
        # System calls and assignments: cannot raise.
        cdef epoll_event event
        if self.loop.ring.is_forked():
            # The set is the parent's as well.
            return 0
        event.events = watch.mask() | (EPOLLONESHOT if watch.is_once else 0)
        event.data.u64 = watch.tag()
        if epoll_ctl(self.fd, how, watch.fd, &event) < 0:
            return errno
        watch.registered = 0 if watch.is_once else watch.mask()
        return 0

    cdef int register(self, Watch watch) except -1:
        """Have what the slots want in the set, whatever was there."""
        cdef int error = self.try_register(watch)
        if error != 0:
            self.fail(watch, error)
        return 0

    cdef int try_register(self, Watch watch) noexcept:
        """0 or errno."""
        # As control().
        cdef int error = ENOENT
        if watch.registered:
            error = self.control(EPOLL_CTL_MOD, watch)
        if error == ENOENT:
            self.last_generation += 1
            watch.generation = self.last_generation
            error = self.control(EPOLL_CTL_ADD, watch)
            if error == EEXIST:
                # Left by a wait that was to be the only one; or a number that was
                # closed, watched, and is the same file's again.
                error = self.control(EPOLL_CTL_MOD, watch)
        return error

    cdef int fail(self, Watch watch, int error) except -1:
        """An error of epoll forgets the watch, as in asyncio's selector."""
        self.watches.pop(watch.fd, None)
        raise os_error(-error)

    cdef int trim(self, Watch watch) except? -1:
        """Let epoll report what the slots want and no more; 0 or errno."""
        if watch.mask() != 0:
            return self.control(EPOLL_CTL_MOD, watch)
        self.watches.pop(watch.fd, None)
        return self.control(EPOLL_CTL_DEL, watch)

    cdef int doubt(self, Watch watch) except -1:
        """Check the registration some time, if the wait lasts."""
        watch.is_doubtful = True
        self.doubtful.append(watch)
        if not self.has_timer:
            self.has_timer = True
            self.loop.add_timer(
                self.loop.now() + CHECK_SECONDS, None, self.check_doubtful, (),
                None)
        return 0

    def check_doubtful(self):
        """Check the registrations of waits that have lasted for a period. Where waits
        are short this makes no system call."""
        cdef Watch watch
        watches = self.doubtful
        self.doubtful = []
        self.has_timer = False
        for watch in watches:
            watch.is_doubtful = False
            if watch.has_begun:
                watch.has_begun = False
                self.doubt(watch)
            elif watch.mask() and self.watches.get(watch.fd) is watch:
                # An error says that the descriptor has been closed: the wait goes on
                # for ever, as on asyncio.
                self.try_register(watch)

    cdef int rebuild(self) except -1:
        """A new set without the registrations that cannot be removed."""
        cdef Watch watch
        self.has_stale = False
        if self.in_flight:
            # It polls the old set; armed again when it has ended.
            self.loop.cancel(self)
        self.loop.ring.forget_fd(self.fd)
        close_fd(self.fd)
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise os_error(-errno)
        for watch in list(self.watches.values()):
            watch.registered = 0
            if watch.mask() == 0:
                del self.watches[watch.fd]
            else:
                # What has been closed stays out.
                self.try_register(watch)
        return 0

    cdef int make_room(self) except -1:
        """For what epoll can report at once: everything."""
        cdef epoll_event *memory
        cdef Py_ssize_t room = self.room * 2 or FIRST_ROOM
        if self.room > len(self.watches):
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
        self.doubtful.clear()

    def __dealloc__(self):
        # Of a loop that was never closed.
        if self.fd >= 0:
            close_fd(self.fd)
        PyMem_Free(self.reported)

    # ---- the poll of the set

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.fd, EPOLLIN)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # An error, such as that of a thread that has ended, is one more reason to look.
        self.loop.watches_due = True
        self.was_polled = True
        return 0

    cdef int ensure_poll(self) except -1:
        if not (self.in_flight or self.loop.watches_due):
            self.loop.ring.prepare(self)
        return 0

    cdef int arm(self) except -1:
        self.loop.watches_due = False
        self.has_told = False
        return self.ensure_poll()

    cdef int look(self) except -1:
        """Run the callbacks of what is ready, then have the set polled again.

        The poll looks at the set when it is submitted, so that no empty look is needed
        before it: a conversation on one descriptor costs one epoll_wait(2) a message.
        For descriptors that stay ready it is cheaper to look in each iteration, without
        the ring. That is tried now and then, and kept up until a look finds nothing.
        While other handles keep the loop from sleeping, each iteration looks if a
        callback was told: what stays ready is reported in each, as on asyncio.

        If a KeyboardInterrupt leaves a callback, the next iteration looks again.
        """
        cdef bint was_polled = self.was_polled
        cdef int count
        self.was_polled = False
        if self.has_told:
            # The tasks that were told have had their turn.
            self.has_told = False
            if not (self.has_told_handle and self.loop.ready):
                return self.arm()
        count = epoll_wait(self.fd, self.reported, <int>self.room, 0)
        if count < 0:
            if errno != EINTR:
                raise os_error(-errno)
            return 0
        if count == 0:
            self.vain_count += was_polled
            self.reports_until_look = REPORTS_UNTIL_LOOK
            return self.arm()
        self.has_told_handle = False
        if count == 1:
            self.call_one()
        else:
            self.call_all(count)
        if self.reports_until_look > 0:
            self.reports_until_look -= 1
            self.has_told = True
            if not self.loop.ready:
                self.arm()
        return 0

    # ---- waiting in select()

    cdef bint is_replaced(self, selector) except -1:
        """Another select() than RingSelector's, or another selector? One that has a
        map of descriptors of its own would sleep without the ring, perhaps for ever."""
        if selector is None or self.loop._closed:
            return False
        if isinstance(selector, selectors._BaseSelectorImpl):
            raise RuntimeError(
                "the selector of a uring_loop loop may be wrapped, but not replaced: "
                f"{selector!r} cannot wait for the loop's completions")
        return getattr(selector.select, "__func__", None) is not OWN_SELECT

    cdef int select(self) except -1:
        """As asyncio's _run_once: select() gets the time until the next timer."""
        cdef LoopCore loop = self.loop
        cdef double timeout = 0
        if not (loop.ready or loop._stopping or loop.watches_due):
            timeout = loop.timeout()
        reported = loop._selector.select(None if timeout < 0 else timeout)
        PyErr_CheckSignals()
        if loop.ring.need_wait():
            loop.ring.enter(False)
        loop._process_events(reported)
        return 0

    cdef int sleep(self, timeout) except -1:
        """RingSelector.select(): wait for completions, which the loop then reaps."""
        cdef LoopCore loop = self.loop
        cdef int64_t timeout_ns = -1
        if timeout is not None:
            timeout_ns = <int64_t>ceil(max(0, min(timeout, LONGEST_SLEEP)) * 1e9)
        # From here on other threads wake the loop: see LoopCore.wait_on_ring().
        loop.idle = ASLEEP
        try:
            if timeout_ns == 0 or loop.ready or loop._stopping:
                if loop.ring.need_wait():
                    loop.ring.enter(False)
                return 0
            if not loop.wake.in_flight:
                loop.ring.prepare(loop.wake)
            return loop.ring.enter(True, timeout_ns)
        finally:
            loop.idle = AWAKE

    # ---- what is ready

    cdef int call_one(self) except -1:
        cdef Watch watch = self.reported_watch(0)
        cdef unsigned events
        if watch is None:
            return self.rebuild()
        events = self.reported[0].events
        reader = self.take_ready(watch, events, False)
        writer = self.take_ready(watch, events, True)
        self.trim_reported(watch, events)
        if self.has_stale:
            self.rebuild()
        if reader is not None:
            self.call(reader)
        if writer is not None:
            self.call(writer)
        return 0

    cdef int call_all(self, int count) except -1:
        """Find out all, then call, since callbacks add and remove others."""
        cdef list found = []
        cdef Watch watch
        cdef unsigned events
        cdef int i
        for i in range(count):
            watch = self.reported_watch(i)
            if watch is None:
                self.has_stale = True
                continue
            events = self.reported[i].events
            reader = self.take_ready(watch, events, False)
            if reader is not None:
                found.append(reader)
            writer = self.take_ready(watch, events, True)
            if writer is not None:
                found.append(writer)
            self.trim_reported(watch, events)
        if self.has_stale:
            self.rebuild()
        self.loop.reports_left = len(found)
        for who in found:
            self.loop.reports_left -= 1
            self.call(who)
        return 0

    cdef int trim_reported(self, Watch watch, unsigned events) except -1:
        """Take out what a waiter that has ended has left, once it is reported."""
        cdef unsigned unwanted = watch.registered & ~watch.mask()
        if unwanted and (events & unwanted or watch.mask() == 0):
            if self.trim(watch) != 0:
                self.has_stale = True
        return 0

    cdef Watch reported_watch(self, int place):
        """None for a registration that is no longer one of ours."""
        cdef uint64_t tag = self.reported[place].data.u64
        cdef Watch watch = self.watches.get(<int>(tag & 0xFFFFFFFF))
        if watch is None or watch.tag() != tag:
            return None
        return watch

    cdef object take_ready(self, Watch watch, unsigned events, bint writing):
        """Whom to call for these events, as asyncio's _process_events finds it: an
        error or a hang-up concerns both, and the reader comes first."""
        cdef unsigned others = EPOLLIN if writing else EPOLLOUT
        if not events & ~others:
            return None
        who = watch.writer if writing else watch.reader
        if isinstance(who, Handle) and (<Handle>who)._cancelled:
            # By itself, not by a removal, which is due now.
            self.remove(watch.fd, writing)
            return None
        return who

    cdef int call(self, who) except -1:
        if not isinstance(who, Waiter):
            self.has_told_handle = True
            return self.loop.run_one(who)
        if (<Waiter>who).waiting:
            self.run_waiter(<Waiter>who)
        return 0

    cdef int run_waiter(self, Waiter waiter) except -1:
        try:
            if self.loop.debug:
                self.loop.run_slowly(waiter)
            else:
                waiter.on_ready()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.loop.call_exception_handler({
                "message": f"Exception in {waiter!r}",
                "exception": exc,
            })
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return 0

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


cdef object put(Watch watch, bint writing, who):
    """Put a handle or waiter into its slot; returns what was there."""
    before = watch.writer if writing else watch.reader
    if writing:
        watch.writer = who
    else:
        watch.reader = who
    return before


cdef int retire(who) except -1:
    """Something else has its slot now, or nothing."""
    if isinstance(who, Handle):
        (<Handle>who).cancel()
    elif who is not None:
        (<Waiter>who).waiting = False
    return 0


# ---- methods of the loop ----------------------------------------------------------

def _add_reader(LoopCore self not None, fd, callback, *args):
    return add(self, fd, False, callback, args)


def _add_writer(LoopCore self not None, fd, callback, *args):
    return add(self, fd, True, callback, args)


def _remove_reader(LoopCore self not None, fd):
    return not self._closed and (<WatchSet>self.watcher).remove(fd, False)


def _remove_writer(LoopCore self not None, fd):
    return not self._closed and (<WatchSet>self.watcher).remove(fd, True)


cdef Handle add(LoopCore loop, fd, bint writing, callback, tuple args):
    if loop._closed:
        loop._check_closed()
    return (<WatchSet>loop.watcher).add(fd, writing, callback, args)


class RingSelector(selectors.BaseSelector):
    """What asyncio's transports and tools see of the watches and of the ring.

    Tools put another select() in the place of this one, or a selector that wraps this
    one, to see or to change how long a loop sleeps (virtual time in tests). Then the
    loop waits by calling it. Completions are not among what select() returns: the loop
    reaps them itself.
    """

    def __init__(self, watch_set):
        self._watch_set = watch_set

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "select":
            detect_overrides(self._watch_set)

    def __delattr__(self, name):
        super().__delattr__(name)
        if name == "select":
            detect_overrides(self._watch_set)

    def get_map(self):
        cdef Watch watch
        return {watch.fd: watch.key for watch in self._watch_set.watches.values()
                if watch.mask()}

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
        """Sleep until the loop has something to do, or for so many seconds."""
        wait(self._watch_set, timeout)
        return []

    def close(self):
        self._watch_set.close()


OWN_SELECT = RingSelector.select


def detect_overrides(WatchSet watch_set not None):
    watch_set.loop.detect_overrides()


def wait(WatchSet watch_set not None, timeout):
    if not watch_set.loop.has_select_override or not watch_set.loop.ring.is_mine():
        raise RuntimeError(
            "readiness is reported by the ring: only what stands in the place of "
            "select() may call it, while the loop runs")
    watch_set.sleep(timeout)
