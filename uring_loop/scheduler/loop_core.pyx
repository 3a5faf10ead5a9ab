"""asyncio's scheduler: ready queue, timers and the iteration that serves them.

One iteration (`LoopCore.step`) does, in asyncio's own order:

1. *wait*: sleep in the kernel until the next timer; not at all if handles are ready,
   and without any system call if `Ring.need_wait` finds nothing at the ring either;
2. collect the timers that are due;
3. run the handles that were ready before the wait (not those that they add);
4. *reap*: completions call transports and protocols directly;
5. run the due timers;
6. send what callbacks have written and what has been held back: see net/gather.pyx.

A callback may raise anything: it goes to the loop's exception handler. Only
KeyboardInterrupt and SystemExit leave the iteration; what had not run yet stays
queued for the next run.
"""

cimport cython
from cpython.float cimport PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.errno cimport EEXIST
from libc.math cimport ceil
from libc.stdint cimport int64_t

import asyncio
import collections
import os
from asyncio import base_events, format_helpers

from uring_loop._compat import ThreadSafeHandle
from uring_loop.driver.buffer_pool cimport (
    BufferPool, make_message_pool, make_stream_pool)
from uring_loop.driver.capi cimport (
    FREE_THREADED, PyContext_CopyCurrent, PyErr_CheckSignals, PyObject_CallNoArgs,
    PyObject_CallOneArg, PyObject_GenericSetAttr)
from uring_loop.driver.handover cimport Handover
from uring_loop.driver.ring cimport Operation, Ring
from uring_loop.driver.uapi cimport (
    ECANCELED, URING_ASLEEP, URING_SPINNING, io_uring_cq_ready, uring_change_mark,
    uring_mark, uring_mark_asleep, uring_mark_awake, uring_pushed, uring_set_fd)
from uring_loop.scheduler.busy_poll cimport AdaptivePoll, now_ns
from uring_loop.scheduler.callback_watch cimport CallbackWatch
from uring_loop.scheduler.clock cimport clock_time, clock_value, end_of_due
from uring_loop.scheduler.handles cimport Handle, TimerHandle, run_handle
from uring_loop.scheduler.held_writes cimport HeldWrites
from uring_loop.scheduler.loop_thread cimport LoopThread
from uring_loop.scheduler import statistics
from uring_loop.scheduler.timer_heap cimport TimerHeap
from uring_loop.scheduler.wakeup cimport WakeOperation

# Kept: whoever puts our loop into asyncio's place must not make it its own parent.
StockLoop = asyncio.SelectorEventLoop
Task = asyncio.Task
Future = asyncio.Future

# asyncio's own limits: when cancelled timers are swept, and the longest sleep.
cdef Py_ssize_t FEW_TIMERS = base_events._MIN_SCHEDULED_TIMER_HANDLES
cdef double CANCELLED_FRACTION = base_events._MIN_CANCELLED_TIMER_HANDLES_FRACTION
cdef double LONGEST_SLEEP = base_events.MAXIMUM_SELECT_TIMEOUT

# What may be replaced while the loop runs: see detect_overrides().
cdef frozenset OVERRIDES = frozenset({"time", "_timer_handle_cancelled", "_selector"})
# How long the memory of a ring that the loop has left is kept: the kernel takes the
# ring apart some 20 ms later, and may write to its buffers until then.
cdef int64_t RETIRED_NS = 1_000_000_000
# A loop that does not sleep lets other threads run after so many iterations: the
# interpreter looks for their requests when it begins a function.
cdef enum: STEPS_PER_YIELD = 64
cdef object INTERPRET_NOTHING = eval("lambda: None")
# As many completions as there are.
cdef unsigned ALL = 0xFFFFFFFF


cdef class Watcher(Operation):
    """Runs the callbacks of ready descriptors; its operation says that some are."""

    cdef int look(self) except -1:
        raise NotImplementedError

    cdef int select(self) except -1:
        """Wait by the select() that a tool has put into the selector's place."""
        raise NotImplementedError

    cdef bint is_replaced(self, selector) except -1:
        """Has a tool replaced this selector, or its select()?"""
        raise NotImplementedError


cdef class LoopCore(LoopThread):
    """The hot part of a loop; asyncio's SelectorEventLoop stands behind it."""

    def __cinit__(self, *args, **kwargs):
        self.earlier = []
        self._ready = collections.deque()
        self.due = collections.deque()
        self.push_due = self.due.append
        self.pop_due = self.due.popleft
        self.timers = TimerHeap()
        self.retired = []
        self.poll = AdaptivePoll()
        self.held = HeldWrites()
        self.callback_watch = CallbackWatch()
        self.detect_overrides()

    def __dealloc__(self):
        PyMem_Free(self.bulk_buffer)

    # ---- fields of BaseEventLoop that are more than a slot
    @property
    def _ready(self):
        return self.ready

    @_ready.setter
    def _ready(self, handles):
        push, pop = handles.append, handles.popleft
        self.refuse_elsewhere()
        # Another thread may be using the earlier one in call_soon_threadsafe().
        self.earlier.append((self.ready, self.push_ready, self.pop_ready))
        with cython.critical_section(self):
            self.ready, self.push_ready, self.pop_ready = handles, push, pop

    @property
    def _scheduled(self):
        return self.timers.share(self)

    @_scheduled.setter
    def _scheduled(self, list timers not None):
        self.refuse_elsewhere()
        self.timers.replace(timers)

    @property
    def _debug(self):
        return self.debug_as_given

    @_debug.setter
    def _debug(self, enabled):
        self.debug = enabled
        self.debug_as_given = enabled
        self.timed = self.debug or self.callback_watch.report is not None

    # ---- scheduling

    def time(self):
        return clock_value()

    def get_debug(self):
        return self.debug_as_given

    def stop(self):
        self._stopping = True
        # Another thread, or a signal handler in the middle of a spin.
        uring_pushed()
        if uring_mark(&self.sleep):
            self._write_to_self()

    cdef Handle call_soon_fast(self, object callback, tuple args, object context):
        cdef Handle handle = Handle.__new__(Handle)
        handle._callback = callback
        handle._args = args
        handle._loop = self
        handle._context = PyContext_CopyCurrent() if context is None else context
        if self.debug:
            handle._source_traceback = format_helpers.extract_stack()
        PyObject_CallOneArg(self.push_ready, handle)
        # A signal handler in the middle of a spin, or the host of a guest loop.
        if uring_mark(&self.sleep):
            self._write_to_self()
        return handle

    def call_soon(self, callback, *args, context=None):
        if self._closed:
            self._check_closed()
        if self.debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        return self.call_soon_fast(callback, args, context)

    def call_soon_threadsafe(self, callback, *args, context=None):
        cdef object handle
        if self._closed:
            self._check_closed()
        if self.debug:
            self._check_callback(callback, "call_soon_threadsafe")
        if ThreadSafeHandle is None:
            handle = self.call_soon_fast(callback, args, context)
        else:
            handle = ThreadSafeHandle(callback, args, self, context)
            if handle._source_traceback:
                # Its own __init__, which would stand where the caller should.
                handle._source_traceback.pop()
            PyObject_CallOneArg(self.push_ready, handle)
        # Wakes the loop if it sleeps: one that is awake looks at its queue first.
        uring_pushed()
        if uring_mark(&self.sleep):
            self._write_to_self()
        return handle

    def call_later(self, delay, callback, *args, context=None):
        if delay is None:
            raise TypeError("delay must not be None")
        # While the loop runs it knows its overrides: see detect_overrides().
        cdef double now = self.now() if self.runner else self.time()
        cdef object when
        if PyFloat_CheckExact(delay) or PyLong_CheckExact(delay):
            return self.add_timer(now + <double>delay, None, callback, args, context)
        when = now + delay
        return self.add_timer(when, when, callback, args, context)

    def call_at(self, when, callback, *args, context=None):
        if when is None:
            raise TypeError("when cannot be None")
        return self.add_timer(when, when, callback, args, context)

    cdef TimerHandle add_timer(
            self, double due_at, object given, object callback, tuple args,
            object context):
        cdef TimerHandle handle
        if self._closed:
            self._check_closed()
        if FREE_THREADED:
            self.refuse_elsewhere()
        if self.debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        if due_at != due_at:
            raise ValueError("a timer cannot wait for NaN")
        handle = TimerHandle.__new__(TimerHandle)
        handle.due_at = due_at
        if not PyFloat_CheckExact(given):
            handle.given = given
        handle._callback = callback
        handle._args = args
        handle._loop = self
        handle._context = PyContext_CopyCurrent() if context is None else context
        if self.debug:
            handle._source_traceback = format_helpers.extract_stack()
        self.timers.push(handle)
        if uring_mark(&self.sleep):
            self._write_to_self()
        return handle

    def _timer_handle_cancelled(self, handle):
        self._timer_cancelled_count += handle._scheduled

    def create_future(self):
        return Future(loop=self)

    def create_task(self, coro, *, name=None, context=None, **kwargs):
        if self._closed:
            self._check_closed()
        if kwargs or self.debug or self._task_factory is not None:
            # Only what was given: task factories need not know the rest.
            if name is not None:
                kwargs["name"] = name
            if context is not None:
                kwargs["context"] = context
            return StockLoop.create_task(self, coro, **kwargs)
        if name is None and context is None:
            return Task(coro, loop=self)
        return Task(coro, loop=self, name=name, context=context)

    # ---- one iteration

    def run_steps(self):
        """Iterate until stop(); the thread that calls this owns the ring."""
        self.begin_run()
        try:
            while True:
                self.step()
                if self._stopping:
                    break
            # What was asked of the kernel last, such as the end of a watch, happens
            # now and not when the loop runs again.
            self.flush_ring()
        finally:
            self.keep_overflow()

    cdef int keep_overflow(self) except -1:
        """Take in the completions outside the queue, for the next run to hand out: only
        this thread gets at them, and the loop may move. Bounded by what can be there: a
        watch that nobody serves comes back."""
        cdef Py_ssize_t left = self.ring.in_flight_count
        while left > 0 and self.ring.has_overflow() and self.ring.is_mine():
            if self.inherited is None:
                self.inherited = Handover()
            left -= self.ring.completions_count
            self.inherited.set_aside(self.ring)
            self.flush_ring()
        return 0

    cdef int begin_run(self) except -1:
        self.detect_overrides()
        self.poll.look_at_cpus()
        self.bind_to_thread()
        if self.due:
            self.resume_step()
        return 0

    def _run_once(self):
        self.bind_to_thread()
        self.step()

    cdef int step(self) except -1:
        self.step_number += 1
        if self.timers.handles:
            self.sweep_timers()
        self.wait_on_ring()
        if self.timers.handles:
            self.collect_due()
        self.held.begin()
        try:
            self.run_callbacks()
        finally:
            self.held.finish()
        return 0

    cdef int run_callbacks(self) except -1:
        self.todo = len(self.ready)
        self.reports_left = 0
        while self.todo and self.ready:
            self.todo -= 1
            self.run_one(PyObject_CallNoArgs(self.pop_ready))
        if (self.ring.closed or self.ring.is_forked()
                or io_uring_cq_ready(&self.ring.ring)):
            self.reap(ALL)
        if self.watches_due:
            self.watcher.look()
        while self.due:
            self.run_one(PyObject_CallNoArgs(self.pop_due))
        return 0

    cdef int resume_step(self) except -1:
        """After an iteration that KeyboardInterrupt or SystemExit left: what was due
        then comes behind what was ready then, and before what has been added since."""
        handles = [self.pop_ready() for _ in range(min(self.todo, len(self.ready)))]
        handles.extend(self.due)
        self.due.clear()
        self.ready.extendleft(reversed(handles))
        return 0

    cdef int wait_on_ring(self) except -1:
        cdef int64_t timeout
        if self.has_select_override:
            return self.watcher.select()
        if not (self.ready or self._stopping or self.watches_due):
            # From here on other threads wake us. What they have added before they could
            # see the mark is found by another look at the queue.
            uring_mark_asleep(&self.sleep)
            try:
                timeout = 0 if self.ready or self._stopping else self.timeout_ns()
                if timeout != 0:
                    if not self.wake.in_flight:
                        self.ring.prepare(self.wake)
                    if self.poll.max_ns:
                        return self.poll_ring(timeout)
                    return self.ring.enter(True, timeout)
            finally:
                uring_mark_awake(&self.sleep)
        # Callbacks in C would keep Ctrl-C and other threads waiting for ever.
        PyErr_CheckSignals()
        if self.step_number % STEPS_PER_YIELD == 0:
            PyObject_CallNoArgs(INTERPRET_NOTHING)
        if self.ring.need_wait():
            self.ring.enter(False)
        return 0

    cdef int poll_ring(self, int64_t timeout) except -1:
        """Sleep, but look at the ring awake first, if that has paid before."""
        cdef int64_t start = now_ns()
        cdef bint hit = False
        if self.poll.wanted():
            # Nothing comes of what has not been submitted.
            if self.ring.need_wait():
                self.ring.enter(False)
            if uring_change_mark(&self.sleep, URING_ASLEEP, URING_SPINNING):
                hit = self.poll.spin(self.ring, &self.sleep, timeout)
            # Who came before this has changed the mark, who comes after it writes to
            # the eventfd.
            if not uring_change_mark(&self.sleep, URING_SPINNING, URING_ASLEEP):
                hit = True
            elif timeout > 0:
                timeout = max(0, timeout - (now_ns() - start))
        if timeout != 0 and not hit:
            self.ring.enter(True, timeout)
        elif self.ring.need_wait():
            self.ring.enter(False)
        return self.poll.adjust(now_ns() - start)

    cdef int detect_overrides(self) except -1:
        """A subclass or a tool may replace the clock, the cancel hook or select()."""
        self.has_time_override = getattr(self.time, "__func__", None) is not OWN_TIME
        self.has_cancel_override = getattr(
            self._timer_handle_cancelled, "__func__", None) is not OWN_CANCELLED
        if self.watcher is not None:
            self.has_select_override = self.watcher.is_replaced(
                getattr(self, "_selector", None))
        return 0

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(
            <PyObject *>self, <PyObject *>name, <PyObject *>value)
        if name in OVERRIDES:
            self.detect_overrides()

    def __delattr__(self, name):
        PyObject_GenericSetAttr(<PyObject *>self, <PyObject *>name, NULL)
        if name in OVERRIDES:
            self.detect_overrides()

    def set_poll(self, *, max_ns=0, grow=0, shrink=0):
        """Spin before sleeping, for up to `max_ns` nanoseconds; 0 turns it off.

        grow    factor by which the spin gets longer when a longer one would have
                been rewarded; 0: 2
        shrink  divisor by which it gets shorter when none would have been; 0: it
                ends at once, and begins anew from 4 microseconds

        Any thread may call it at any time. Raises ValueError for anything but integers
        from 0 on. Without effect where the loop's thread may use one CPU only. On epoll
        each look is a system call. From QEMU's AioContext: see docs/polling.md.
        """
        self.poll.set(max_ns=max_ns, grow=grow, shrink=shrink)
        # A spin that goes on would go on by the old rules.
        if uring_mark(&self.sleep) == URING_SPINNING:
            self._write_to_self()

    def statistics(self):
        """A `Statistics`: what the loop has done so far, and how things stand now."""
        with cython.critical_section(self):
            ring, pool, ready = self.ring, self.pool, self.ready
        return statistics.gather_statistics(
            ring, pool, self.poll, self.callback_watch,
            iterations=self.step_number, callbacks=self.callbacks_count,
            received_bytes=self.received_bytes, sent_bytes=self.sent_bytes,
            accepts=self.accepts_count, ready=len(ready), timers=self.timers.count())

    def _present_ring(self):
        """The ring, for other threads too: one that replaces it does so as a whole."""
        with cython.critical_section(self):
            return self.ring

    cdef double now(self) except? -1:
        return self.time() if self.has_time_override else clock_time()

    cdef double timeout(self) except? -2:
        """Seconds until the next timer, from 0 on; -1: there is none."""
        if not self.timers.handles:
            return -1
        return min(max(0.0, self.timers.first_time() - self.now()), LONGEST_SLEEP)

    cdef int64_t timeout_ns(self) except -2:
        """How long to sleep: -1 without limit, 0 not at all. Rounded up, so that
        no timer is found not yet due."""
        cdef double seconds = self.timeout()
        return -1 if seconds < 0 else <int64_t>ceil(seconds * 1e9)

    cdef int sweep_timers(self) except -1:
        """Drop cancelled timers by asyncio's rule: all when they are many, else those
        that come first."""
        cdef Py_ssize_t count = len(self.timers.handles)
        cdef Py_ssize_t cancelled = self._timer_cancelled_count
        if count > FEW_TIMERS and cancelled > CANCELLED_FRACTION * count:
            self.timers.drop_cancelled()
            cancelled = 0
        else:
            cancelled -= self.timers.drop_cancelled_first()
        self._timer_cancelled_count = max(0, cancelled)  # two threads may lose a count
        return 0

    cdef int vacate_timer(self, TimerHandle handle) except -1:
        # The cyclic collector may have cleared the loop before a coroutine ends.
        # Another thread's cancel() leaves the timer where it is, marked as cancelled.
        if self.timers is None or FREE_THREADED and self.is_elsewhere():
            return 0
        return self.timers.vacate(handle)

    cdef int retime_timer(self) except -1:
        if self.timers is not None:
            self.timers.share(self)
        return 0

    cdef int collect_due(self) except -1:
        """Move the due timers to `due`. Timers that callbacks add wait for the next
        iteration."""
        cdef double end = end_of_due(self.now(), self._clock_resolution)
        cdef object handle
        while self.timers.handles and self.timers.first_time() < end:
            handle = self.timers.pop()
            if handle is not None:
                PyObject_CallOneArg(self.push_due, handle)
        return 0

    cdef int run_one(self, handle) except -1:
        self.callbacks_count += 1
        if isinstance(handle, Handle):
            if (<Handle>handle)._cancelled:
                return 0
            if self.timed:
                self.run_slowly(handle)
            else:
                run_handle(<Handle>handle)
        elif not handle._cancelled:
            self.run_slowly(handle)
        if self.held.first is not None:
            self.held.callback_returned()
        return 0

    cdef int run_slowly(self, handle) except -1:
        """Run a callback and measure it."""
        cdef double start = self.now()
        self.now_runs(handle)
        try:
            handle._run()
        finally:
            self.now_runs(None)
        return self.callback_watch.took(self, handle, start, self.now() - start)

    cdef int reap(self, unsigned limit) except -1:
        """Hand out what has completed, so many at most. What an operation could not
        deal with goes to the exception handler; the rest is handed out all the same."""
        while True:
            try:
                if self.timed:
                    self.reap_slowly(limit)
                else:
                    self.ring.reap(limit)
                return 0
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.completion_failed(exc)

    cdef int reap_slowly(self, Py_ssize_t limit) except -1:
        cdef Py_ssize_t left = self.ring.completions_count
        cdef double start
        self.ring.full_count += left == self.ring.cq_entries
        left = min(left, limit)
        while left > 0:
            left -= 1
            start = self.now()
            op = self.ring.reap_one()
            self.callback_watch.took(self, op, start, self.now() - start)
        return 0

    # ---- the ring and its thread

    def prepare(self, Operation op not None):
        """Queue an operation on the loop's ring."""
        self.ring.prepare(op)

    cdef int cancel(self, Operation op) except -1:
        """Ask for an operation's end. On a closed loop all have ended, and after a
        fork they are the parent's. None stands for an operation never made."""
        if (op is not None and op.in_flight and not self._closed
                and not self.ring.is_forked()):
            self.ring.cancel(op)
        return 0

    cdef int flush_ring(self) except -1:
        """Submit now what was prepared, if this is the ring's thread."""
        if self.ring.is_mine():
            self.ring.enter(False)
        return 0

    def open_ring(self, options):
        """Make the ring; on io_uring the thread that runs the loop enables it."""
        wake = WakeOperation()
        self.ring = Ring(disabled=True, **options)
        self.ring_options = options
        self.multishot = True
        self.wake = wake
        uring_set_fd(&self.sleep, wake.fd)

    cdef int bind_to_thread(self) except -1:
        cdef Ring ring = self.ring
        if not ring.enabled:
            ring.enable()
        elif not ring.is_mine():
            ring.check_usable()
            if ring.holds_files:
                self.move_ring()
            else:
                ring.change_owner()
        if self.inherited is not None:
            self.hand_out_inherited()
        if not self.wake.in_flight:
            self.ring.prepare(self.wake)
        return 0

    cdef int move_ring(self) except -1:
        """Another thread runs the loop now: prepare everything on a ring of its own.

        An error leaves the loop on the old ring. No callback runs in here: see
        driver/handover.pyx.
        """
        cdef Ring old = self.ring
        cdef Ring new = Ring(**self.ring_options)
        cdef BufferPool pool = None
        cdef BufferPool message_pool = None
        cdef Handover inherited = Handover()
        cdef int64_t now = now_ns()
        try:
            retired = [kept for kept in self.retired if now - kept[0] < RETIRED_NS]
            retired.append((now, old, self.pool, self.message_pool))
            if self.pool is not None:
                pool = self.pool.again(new)
            if self.message_pool is not None:
                message_pool = self.message_pool.again(new)
            inherited.read(old, self.inherited)
            if pool is not None:
                inherited.fill(pool, self.pool)
            if message_pool is not None:
                inherited.fill(message_pool, self.message_pool)
            operations = old.abandon()
        except BaseException:
            new.abandon()
            raise
        with cython.critical_section(self):
            self.ring, self.pool, self.message_pool = new, pool, message_pool
        self.inherited, self.retired = inherited, retired
        new.continue_counts(old)
        return inherited.move(operations, new)

    cdef int hand_out_inherited(self) except -1:
        """Let operations hear what the ring that the loop has left had completed."""
        while self.inherited is not None:
            try:
                if not self.inherited.hand_out_one(self.ring):
                    self.inherited = None
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.completion_failed(exc)
        return 0

    def completion_failed(self, exc):
        """Report what an operation could not deal with; a useless ring is fatal."""
        self.ring.check_usable()
        self.call_exception_handler({
            "message": "Exception in the completion of an operation",
            "exception": exc,
        })

    cdef bint open_pool(self) except -1:
        """Have the pool of multishot receives; False if there can be none."""
        if self.pool is None and self.multishot:
            try:
                self.pool = make_stream_pool(self.ring)
            except OSError as exc:
                self.pool_failed(exc)
        return self.pool is not None

    cdef bint open_message_pool(self) except -1:
        """The same for datagrams, which must fit into one buffer."""
        if self.message_pool is None and self.multishot:
            try:
                self.message_pool = make_message_pool(self.ring)
            except OSError as exc:
                self.pool_failed(exc)
        return self.message_pool is not None

    cdef int pool_failed(self, exc) except -1:
        # In a thread that is not the ring's, it can be had later. A kernel before
        # 5.19 has none: all read in bulk, nothing is lost.
        self.multishot = exc.errno == EEXIST
        return 0

    cdef char *bulk_memory(self) except NULL:
        """Where big reads land before they are copied: one place, always hot."""
        if self.bulk_buffer == NULL:
            self.bulk_buffer = <char *>PyMem_Malloc(BULK_BYTES)
            if self.bulk_buffer == NULL:
                raise MemoryError
        return self.bulk_buffer

    cdef object shared_buffer(self):
        """The same as an object, for who keeps what it is given: one for all."""
        if self.shared_view is None:
            self.shared_view = memoryview(bytearray(BULK_BYTES))
        return self.shared_view

    def close_ring(self):
        """End what is in flight, then the ring; every operation hears its end."""
        cdef Operation op
        try:
            if not self.ring.is_forked():
                self.hand_out_inherited()
        finally:
            left = self.ring.close()
        for op in left:
            if op.abandoned():
                op.complete(-ECANCELED, 0)
        uring_set_fd(&self.sleep, -1)
        self.wake.close()


OWN_TIME = LoopCore.__dict__["time"]
OWN_CANCELLED = LoopCore.__dict__["_timer_handle_cancelled"]
