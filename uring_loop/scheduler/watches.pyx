"""Readiness of descriptors (add_reader, add_writer, waits of C code) by an epoll set.

asyncio promises level-triggered callbacks, as epoll reports events, and an epoll set
holds no file: a socket that is closed during a wait is closed for its peer, too. One
one-shot poll of the set on the ring ends the loop's sleep when any descriptor of the
set is ready. Then `look` calls epoll_wait(2) and runs the callbacks.

*On epoll* the watches are in the set of the driver, so that a report costs one
epoll_wait(2) (include/uring_epoll_watch.h). The driver keeps the events of watches
until `look` takes them, removes unwanted registrations and rebuilds the set.
`WatchSet.is_shared` is true there.

Each descriptor has two slots, one for reading and one for writing, as on asyncio: a new
callback replaces the old one. A slot holds a user's `Handle` or a `Waiter` of ours,
such as a call of sock_recv() or a listener.

*Registrations stay.* A waiter that has ended leaves its registration in the epoll set
for the next wait. The registration is removed when it reports an event for which no
slot is filled. So a conversation through sock_recv() and sock_sendall() needs no
epoll_ctl(2). A registration ends when its descriptor is closed; if the number then
names another file, the socket object differs, too, and `wait` registers anew. os.dup2()
can put another file under the number of the same socket object; `check_doubtful`
detects that.

*Registrations that cannot be removed.* If the file of a closed descriptor lives on, in
a duplicate or in a forked child, epoll continues to report it, and epoll_ctl(2) cannot
address it any more. Registrations are numbered, so that such an event is recognised;
then the set is rebuilt.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.weakref cimport PyWeakref_NewRef
from libc.errno cimport EEXIST, EINTR, ENOENT, errno
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint64_t

import selectors
from asyncio import base_events, format_helpers

from uring_loop.driver.capi cimport (
    FREE_THREADED, PyContext_CopyCurrent, PyErr_CheckSignals)
from uring_loop.driver.libc cimport (
    EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL,
    EPOLL_CTL_MOD, close_fd, epoll_create1, epoll_ctl, epoll_event, epoll_wait)
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport (
    io_uring_prep_poll_add, io_uring_prep_poll_multishot, io_uring_sqe,
    uring_mark_asleep, uring_mark_awake, uring_take_ready, uring_watch,
    uring_watch_again)
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport LoopCore, Watcher
from uring_loop.scheduler.ring_selector import RingSelector
from uring_loop.scheduler.watch cimport Waiter, Watch

cdef enum:
    FIRST_ROOM = 16
    # The number of reports that are each followed by a poll on the ring, before one is
    # followed by another look: see `look`.
    REPORTS_UNTIL_LOOK = 16
    REPORTS_UNTIL_LOOK_MOST = 1024

# The period of `check_doubtful`: a wait relies on an unchecked registration for at most
# two periods.
cdef double CHECK_SECONDS = 0.01
cdef object LONGEST_SLEEP = base_events.MAXIMUM_SELECT_TIMEOUT
cdef object OWN_SELECT = RingSelector.select


@cython.final
cdef class WatchSet(Watcher):
    """The watches of one loop; as an operation, the ring's poll of their epoll set."""

    def __cinit__(self, LoopCore loop not None):
        self.loop = loop
        self.watches = {}
        self.doubtful = []
        self.reports_until_look = self.look_interval = REPORTS_UNTIL_LOOK
        self.fd = -1
        self.is_shared = loop.ring.driver == "epoll"
        if not self.is_shared:
            self.fd = epoll_create1(EPOLL_CLOEXEC)
            if self.fd < 0:
                raise os_error(-errno)
        self.make_room()
        loop.watcher = self

    # ---- callbacks of the user

    cdef Handle add(self, fileobj, bint writing, callback, tuple args, context):
        """Call back while the descriptor is ready. The old callback is cancelled.
        Without a context the callback has a copy of the current one."""
        cdef Handle handle = make_handle(self.loop, callback, args, context)
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
            # As asyncio: an error if the number names another file by now.
            error = self.control(EPOLL_CTL_MOD, watch)
            if error != 0:
                self.fail(watch, error)
        retire(before)
        self.ensure_poll()
        return handle

    cdef bint remove(self, fileobj, bint writing) except -1:
        """Remove the callback; False if there was none."""
        cdef int fd = self.number(fileobj)
        cdef Watch watch = self.watches.get(fd)
        cdef int error
        if watch is None or (watch.writer if writing else watch.reader) is None:
            return False
        before = put(watch, writing, None)
        error = self.trim(watch)
        if error != 0 and watch.mask() != 0:
            self.fail(watch, error)
        # If no slot is left, an error is ignored, as on asyncio: the descriptor may
        # have been closed.
        retire(before)
        return True

    cdef int remove_handle(self, int fd, bint writing, Handle handle) except -1:
        """Remove this handle only: the number may be another file's by now."""
        cdef Watch watch = self.watches.get(fd)
        handle.cancel()
        if watch is not None and handle is (watch.writer if writing else watch.reader):
            try:
                self.remove(fd, writing)
            except OSError:
                # The file is closed, so epoll has dropped its registration.
                pass
        return 0

    cdef int number(self, fileobj) except -1:
        """The descriptor of a file object; also of a closed one that is watched."""
        cdef Watch watch
        if type(fileobj) is int and fileobj >= 0:
            return fileobj
        try:
            return selectors._fileobj_to_fd(fileobj)
        except ValueError:
            watch = self.watch_of(fileobj)
            if watch is None:
                raise
        return watch.fd

    cdef Watch watch_of(self, fileobj):
        cdef Watch watch
        for watch in self.watches.values():
            if watch.fileobj is fileobj:
                return watch
        return None

    # ---- waits of C code

    cdef int wait(self, int fd, bint writing, Waiter waiter, owner,
                  bint trusting) except -1:
        """Put a waiter into the slot.

        owner     the socket object, which identifies the registration of an earlier
                  wait; None if there is no such object
        trusting  False if the call blocked although the socket was reported ready: the
                  registration may be that of another file
        """
        cdef Watch watch = self.watches.get(fd)
        if watch is None:
            watch = self.new_watch(fd, fd)
        retire(put(watch, writing, waiter))
        waiter.waiting = True
        watch.is_once = waiter.once and watch.mask() == EPOLLOUT
        if (not trusting or watch.owner is None or watch.owner() is not owner
                or not self.is_registered(watch)):
            watch.owner = None if owner is None else PyWeakref_NewRef(owner, None)
            self.register(watch)
        elif not watch.is_doubtful:
            self.doubt(watch)
        watch.has_begun = True
        self.ensure_poll()
        return 0

    cdef int leave(self, int fd, bint writing, Waiter waiter, bint at_once) except -1:
        """Take a waiter out of its slot, if it is still there. With `at_once` the
        registration is updated now."""
        cdef Watch watch = self.watches.get(fd)
        waiter.waiting = False
        if watch is None or (watch.writer if writing else watch.reader) is not waiter:
            return 0
        put(watch, writing, None)
        if at_once:
            # An error means that the descriptor has been closed.
            self.trim(watch)
            return 0
        if self.is_shared:
            uring_watch_again(&self.loop.ring.ring, fd, watch.mask())
        if watch.is_once:
            # The registration ended with its report (EPOLLONESHOT).
            self.watches.pop(fd)
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
        """Set the registration to the events of the slots; 0 or errno."""
        # System calls and assignments: cannot raise.
        cdef epoll_event event
        cdef int error
        if self.loop.ring.is_forked():
            # A forked child shares the set with its parent.
            return 0
        event.events = watch.mask() | (EPOLLONESHOT if watch.is_once else 0)
        event.data.u64 = watch.tag()
        if self.is_shared:
            error = -uring_watch(&self.loop.ring.ring, how, watch.fd, event.events)
            if error != 0:
                return error
        elif epoll_ctl(self.fd, how, watch.fd, &event) < 0:
            return errno
        watch.registered = 0 if watch.is_once else watch.mask()
        return 0

    cdef int register(self, Watch watch) except -1:
        """Register the events of the slots, with or without an old registration."""
        cdef int error = self.try_register(watch)
        if error != 0:
            self.fail(watch, error)
        return 0

    cdef int try_register(self, Watch watch) noexcept:
        """As `register`, but return 0 or errno."""
        # As control(): cannot raise.
        cdef int error = ENOENT
        if watch.registered:
            error = self.control(EPOLL_CTL_MOD, watch)
        if error == ENOENT:
            if not self.is_shared:
                self.last_generation += 1
            watch.generation = self.last_generation
            error = self.control(EPOLL_CTL_ADD, watch)
            if error == EEXIST:
                # Left by a one-shot wait; or the number was closed, watched, and names
                # the same file again.
                error = self.control(EPOLL_CTL_MOD, watch)
        return error

    cdef bint is_registered(self, Watch watch) noexcept:
        """Does the registration cover the events of the slots?"""
        # Loads and assignments: cannot raise.
        if self.is_shared:
            return uring_watch_again(&self.loop.ring.ring, watch.fd, watch.mask())
        return not watch.mask() & ~watch.registered

    cdef int fail(self, Watch watch, int error) except -1:
        """Drop the watch and raise, as asyncio's selector does for an error of
        epoll."""
        self.watches.pop(watch.fd, None)
        raise os_error(-error)

    cdef int trim(self, Watch watch) except? -1:
        """Reduce the registration to the events of the slots; 0 or errno."""
        if watch.mask() != 0:
            return self.control(EPOLL_CTL_MOD, watch)
        self.watches.pop(watch.fd, None)
        return self.control(EPOLL_CTL_DEL, watch)

    cdef int doubt(self, Watch watch) except -1:
        """Schedule a check of the registration, in case the wait lasts."""
        watch.is_doubtful = True
        self.doubtful.append(watch)
        if not self.has_timer:
            self.has_timer = True
            self.loop.add_timer(
                self.loop.now() + CHECK_SECONDS, None, self.check_doubtful, (),
                None)
        return 0

    def check_doubtful(self):
        """Check the registrations of waits that have lasted for a period. If all waits
        are shorter, the check makes no system call."""
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
                # An error means that the descriptor has been closed: the wait never
                # ends, as on asyncio.
                self.try_register(watch)

    cdef int rebuild(self) except -1:
        """Replace the set by one without the registrations that cannot be removed."""
        cdef Watch watch
        self.has_stale = False
        if self.is_shared:
            return 0    # the driver rebuilds its set by itself
        if self.in_flight:
            # The poll is of the old set. It is armed again when it has ended.
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
                # An error means that the descriptor has been closed.
                self.try_register(watch)
        return 0

    cdef int make_room(self) except -1:
        """Make the array large enough for an event of each registration."""
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
        # The loop may never have been closed.
        if self.fd >= 0:
            close_fd(self.fd)
        PyMem_Free(self.reported)

    # ---- the poll of the set

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        if self.is_shared:
            io_uring_prep_poll_multishot(sqe, self.loop.ring.ring.ring_fd, EPOLLIN)
        else:
            io_uring_prep_poll_add(sqe, self.fd, EPOLLIN)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        # Look after an error as well, such as ECANCELED when a thread has ended.
        self.loop.watches_due = True
        self.was_polled = True
        return 0

    cdef int ensure_poll(self) except -1:
        if not (self.in_flight or self.loop.watches_due):
            self.loop.ring.prepare(self)
        return 0

    cdef int arm(self) except -1:
        self.loop.watches_due = False
        self.ran_callbacks = False
        return self.ensure_poll()

    cdef int look(self) except -1:
        """Run the callbacks of ready descriptors, then arm the poll of the set again.

        The poll checks the set when it is submitted, so no empty look is needed before
        it: a conversation on one descriptor costs one epoll_wait(2) per message. For
        descriptors that stay ready it is cheaper to look in each iteration, without the
        ring. After every REPORTS_UNTIL_LOOK reports the loop tries that, and continues
        until a look finds nothing. While other handles keep the loop from sleeping and
        the last look ran a user's callback, each iteration looks: a descriptor that
        stays ready is reported in each iteration, as on asyncio.

        If a KeyboardInterrupt leaves a callback, the next iteration looks again.
        """
        cdef bint was_polled = self.was_polled
        cdef int count
        if self.is_shared:
            return self.look_shared()
        self.was_polled = False
        if self.ran_callbacks:
            # The tasks that the last look woke have run.
            self.ran_callbacks = False
            if not (self.ran_handle and self.loop.ready):
                return self.arm()
        count = epoll_wait(self.fd, self.reported, <int>self.room, 0)
        if count < 0:
            if errno != EINTR:
                raise os_error(-errno)
            return 0
        if count == 0:
            self.empty_polls_count += was_polled
            self.reports_until_look = REPORTS_UNTIL_LOOK
            return self.arm()
        self.ran_handle = False
        if count == 1:
            self.call_one()
        else:
            self.call_all(count)
        if self.reports_until_look > 0:
            self.reports_until_look -= 1
            self.ran_callbacks = True
            if not self.loop.ready:
                self.arm()
        return 0

    cdef int look_shared(self) except -1:
        """Run the callbacks of the events that the last enter has found.

        An enter that does not sleep is cheaper, which pays where descriptors stay
        ready. So after some reports the next enter does not sleep, and none does until
        one finds nothing. If the first of them finds nothing, the next attempt comes
        after twice as many reports.

        If a KeyboardInterrupt leaves a callback, the next enter reports the rest.
        """
        cdef bint comes_back = self.reports_until_look <= 1
        cdef int count = uring_take_ready(
            &self.loop.ring.ring, self.reported, <int>self.room, comes_back)
        self.loop.watches_due = comes_back and count > 0
        if self.reports_until_look > 0:
            self.reports_until_look -= count > 0
        elif count > 0:
            self.look_interval = REPORTS_UNTIL_LOOK
        else:
            self.look_interval = min(2 * self.look_interval, REPORTS_UNTIL_LOOK_MOST)
            self.reports_until_look = self.look_interval
        if count == 1:
            self.call_one()
        elif count > 1:
            self.call_all(count)
        return 0

    # ---- waiting in select()

    cdef bint is_replaced(self, selector) except -1:
        """Has select() or the whole selector been replaced? A selector with descriptors
        of its own would sleep without the ring, possibly for ever: RuntimeError."""
        if selector is None or self.loop._closed:
            return False
        if getattr(selector.select, "__func__", None) is OWN_SELECT:
            return False
        if isinstance(selector, selectors._BaseSelectorImpl):
            raise RuntimeError(
                "the selector of a uring_loop loop may be wrapped, but not replaced: "
                f"{selector!r} cannot wait for the loop's completions")
        return True

    cdef int select(self) except -1:
        """Call select() with the time until the next timer, as asyncio's _run_once."""
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

    def detect_overrides(self):
        """Called when a tool has replaced or restored select()."""
        self.loop.detect_overrides()

    def wait_in_select(self, timeout):
        """RingSelector.select(): wait for completions, which the loop then reaps."""
        if not self.loop.has_select_override or not self.loop.ring.is_mine():
            raise RuntimeError(
                "readiness is reported by the ring: only a replacement of select() may "
                "call it, while the loop runs")
        self.sleep(timeout)

    cdef int sleep(self, timeout) except -1:
        cdef LoopCore loop = self.loop
        cdef int64_t timeout_ns = -1
        if timeout is not None:
            timeout_ns = <int64_t>ceil(max(0, min(timeout, LONGEST_SLEEP)) * 1e9)
        # From here on other threads have to wake the loop: see LoopCore.wait_on_ring().
        uring_mark_asleep(&loop.sleep)
        try:
            if timeout_ns == 0 or loop.ready or loop._stopping:
                if loop.ring.need_wait():
                    loop.ring.enter(False)
                return 0
            if not loop.wake.in_flight:
                loop.ring.prepare(loop.wake)
            return loop.ring.enter(True, timeout_ns)
        finally:
            uring_mark_awake(&loop.sleep)

    def keys(self):
        """Descriptor -> SelectorKey, for each filled slot."""
        cdef Watch watch
        return {watch.fd: watch.key for watch in self.watches.values()
                if watch.mask()}

    # ---- ready descriptors

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
        """Collect all callbacks first, since a callback may add and remove watches."""
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
        for target in found:
            self.loop.reports_left -= 1
            self.call(target)
        return 0

    cdef int trim_reported(self, Watch watch, unsigned events) except -1:
        """Remove what an ended waiter has left, once epoll reports it."""
        cdef unsigned unwanted = watch.registered & ~watch.mask()
        if self.is_shared:
            return 0    # the driver removes it
        if unwanted and (events & unwanted or watch.mask() == 0):
            if self.trim(watch) != 0:
                self.has_stale = True
        return 0

    cdef Watch reported_watch(self, int place):
        """The watch of an event; None if its registration is not in use any more."""
        cdef uint64_t tag = self.reported[place].data.u64
        cdef Watch watch = self.watches.get(<int>(tag & 0xFFFFFFFF))
        if watch is None or watch.tag() != tag:
            return None
        return watch

    cdef object take_ready(self, Watch watch, unsigned events, bint writing):
        """The handle or waiter to call for these events, as in asyncio's
        _process_events: an error or a hang-up concerns both slots, reader first."""
        cdef unsigned others = EPOLLIN if writing else EPOLLOUT
        if not events & ~others:
            return None
        target = watch.writer if writing else watch.reader
        if isinstance(target, Handle) and (<Handle>target)._cancelled:
            # The handle itself was cancelled; its slot is to be emptied now.
            self.remove(watch.fd, writing)
            return None
        return target

    cdef int call(self, target) except -1:
        if not isinstance(target, Waiter):
            self.ran_handle = True
            return self.loop.run_one(target)
        if (<Waiter>target).waiting:
            self.run_waiter(<Waiter>target)
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


cdef Handle make_handle(LoopCore loop, callback, tuple args, context):
    cdef Handle handle = Handle.__new__(Handle)
    handle._callback = callback
    handle._args = args
    handle._loop = loop
    handle._context = PyContext_CopyCurrent() if context is None else context
    if loop.debug:
        handle._source_traceback = format_helpers.extract_stack()
    return handle


cdef object put(Watch watch, bint writing, target):
    """Put a handle, a waiter or None into a slot; returns the old content."""
    before = watch.writer if writing else watch.reader
    if writing:
        watch.writer = target
    else:
        watch.reader = target
    return before


cdef int retire(target) except -1:
    """End a handle or waiter that has been taken out of its slot."""
    if isinstance(target, Handle):
        (<Handle>target).cancel()
    elif target is not None:
        (<Waiter>target).waiting = False
    return 0


# ---- methods of the loop ----------------------------------------------------------

def _add_reader(LoopCore self not None, fd, callback, *args, context=None):
    return add(self, fd, False, callback, args, context)


def _add_writer(LoopCore self not None, fd, callback, *args, context=None):
    return add(self, fd, True, callback, args, context)


def _remove_reader(LoopCore self not None, fd):
    return remove(self, fd, False)


def _remove_writer(LoopCore self not None, fd):
    return remove(self, fd, True)


cdef Handle add(LoopCore loop, fd, bint writing, callback, tuple args, context):
    if loop._closed:
        loop._check_closed()
    if FREE_THREADED:
        loop.refuse_elsewhere()
    return (<WatchSet>loop.watcher).add(fd, writing, callback, args, context)


cdef bint remove(LoopCore loop, fd, bint writing) except -1:
    if loop._closed:
        return False
    if FREE_THREADED:
        loop.refuse_elsewhere()
    return (<WatchSet>loop.watcher).remove(fd, writing)
