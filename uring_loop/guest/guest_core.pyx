"""One loop's share of somebody else's main loop: prepare, check, dispatch.

The host sleeps in its own poll, so what would end the loop's own sleep must end that:

- the kernel writes to an eventfd registered with the ring when there is something to
  enter for (the ring's own descriptor stays silent under DEFER_TASKRUN);
- whoever schedules something between two dispatches, the host's own code or another
  thread, writes to it as well, if the loop has said by its mark (or `Ring.tell_fd`)
  that the host may be asleep;
- timers are the timeout that `prepare` answers.

`check` is that of a GSource in QEMU's series: completions, SQ_TASKRUN, or an overflow.
"""

cimport cython
from libc.errno cimport EEXIST, errno
from libc.stdint cimport int64_t, uint64_t

import os

from uring_loop.driver.capi cimport PyThread_get_thread_ident
from uring_loop.driver.libc cimport (
    EPOLLET, EPOLLIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, epoll_create1, epoll_ctl,
    epoll_event, epoll_wait, read)
from uring_loop.driver.ring cimport Ring, os_error
from uring_loop.driver.uapi cimport uring_mark_asleep, uring_mark_awake, uring_set_fd
from uring_loop.scheduler.busy_poll cimport now_ns
from uring_loop.scheduler.loop_core cimport LoopCore

cdef extern from *:
    """
    static int uring_raise_pending(void) { return PyErr_Occurred() ? -1 : 0; }
    """
    int uring_raise_pending() except? -1

# So many completions, then a look at the clock.
cdef unsigned PORTION = 16


cdef class GuestCore:
    """What a Guest does in each turn of its host; `Guest` is the class for users."""

    def __cinit__(self, LoopCore loop not None, *, double budget=0.005):
        if not 0 <= budget <= 3600:
            raise ValueError(f"budget must be from 0 to 3600 seconds, not {budget!r}")
        self.loop = loop
        self.event_fd = -1
        self.budget_ns = <int64_t>(budget * 1e9)

    @property
    def is_attached(self):
        """Is the loop run by the host now, between begin() and end()?"""
        return self.event_fd >= 0

    def fileno(self):
        """The descriptor that the host polls for reading.

        On io_uring an eventfd, on epoll a set round the loop's own. Raises RuntimeError
        outside `running()`.
        """
        self.check_attached()
        return self.event_fd

    def begin(self):
        """The calling thread runs the loop from now on."""
        if self.loop.ring.holds_files:
            self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.event_fd = make_set()
        self.midway = self.stopped = False
        try:
            self.loop.begin_run()
            self.claim()
            uring_set_fd(&self.loop.sleep, self.wake_fd())
        except BaseException:
            self.end()
            raise

    def end(self):
        """The host runs it no longer; what is in flight stays so."""
        cdef Ring told = self.told
        uring_mark_awake(&self.loop.sleep)
        # Behind this no other thread writes to the descriptor that is closed below.
        uring_set_fd(&self.loop.sleep, self.loop.wake.fd)
        self.told = None
        if told is not None:
            told.tell_fd = -1
            # In another thread the kernel does not let us, and need not: the next run
            # makes a new ring.
            if told.is_mine():
                self.loop.flush_ring()
                if told.holds_files:
                    told.tell_events_to(-1)
        os.close(self.event_fd)
        self.event_fd = -1

    cdef int claim(self) except -1:
        """Bind the loop to the thread that the host runs in; it may change."""
        cdef LoopCore loop = self.loop
        loop.runner = PyThread_get_thread_ident()
        loop.bind_to_thread()
        if loop.ring is not self.told:
            if loop.ring.holds_files:
                loop.ring.tell_events_to(self.event_fd)
            self.told = loop.ring
        return 0

    cdef int wake_fd(self) noexcept:
        """The eventfd that wakes the host when somebody writes to it: on epoll the
        loop's own, which is in the loop's set."""
        # Loads only: cannot raise.
        return self.event_fd if self.loop.ring.holds_files else self.loop.wake.fd

    def prepare(self):
        """To be called before the host sleeps: how long it may, in seconds.

        0.0: not at all, None: without limit. Submits what is queued, so that nothing
        is waited for that the kernel has not heard of.
        """
        cdef LoopCore loop = self.loop
        cdef int64_t timeout
        self.check_attached()
        if self.held_count or self.stopped:
            self.loop.held.flush()
            return None
        self.claim()
        if self.midway:
            return 0.0
        if loop.ring.need_wait():
            loop.ring.enter(False)
        # From here on others wake the host: what they add after this is not missed.
        uring_mark_asleep(&loop.sleep)
        if loop.timers.handles:
            loop.sweep_timers()
        timeout = 0 if self.has_work() or loop._stopping else loop.timeout_ns()
        if timeout == 0:
            uring_mark_awake(&loop.sleep)
            return 0.0
        loop.ring.tell_fd = self.wake_fd()
        if not loop.ring.holds_files:
            self.follow_set()
        return None if timeout < 0 else timeout / 1e9

    def check(self):
        """To be called after the host's sleep: is there something to dispatch?

        Completions, task work that has still to post them, or an overflow; callbacks
        that are ready; timers that are due.
        """
        self.check_attached()
        if self.held_count or self.stopped:
            # Else the descriptor would keep the host of a nested main loop awake.
            self.drain()
            self.loop.held.flush()
            return False
        if self.has_work() or self.loop._stopping or self.loop.timeout_ns() == 0:
            return True
        # First that, then another look: what comes between the two is not missed.
        self.drain()
        return self.has_work()

    cdef int follow_set(self) except -1:
        """Let the host's descriptor report the loop's epoll set, edge-triggered so that
        it falls silent when it is drained, although what is ready stays so. Before
        each sleep: the driver may have built its set anew, under the same number."""
        cdef epoll_event event
        cdef int fd = self.loop.ring.fileno()
        event.events = EPOLLIN | EPOLLET
        event.data.u64 = <uint64_t>fd
        if (epoll_ctl(self.event_fd, EPOLL_CTL_ADD, fd, &event) < 0
                and errno != EEXIST):
            raise os_error(-errno)
        return 0

    cdef bint has_work(self) except -1:
        """Anything to do now, but for timers?"""
        cdef LoopCore loop = self.loop
        if self.midway or loop.ready or loop.due or loop.watches_due:
            return True
        return loop.ring.has_work()

    def check_attached(self):
        if self.event_fd < 0:
            raise RuntimeError("the guest is not running: use `with guest.running():`")

    cdef int drain(self) except -1:
        """Let the descriptor fall silent until the next event."""
        cdef epoll_event event
        cdef uint64_t count
        if self.loop.ring.holds_files:
            read(self.event_fd, &count, sizeof(count))
        else:
            epoll_wait(self.event_fd, &event, 1, 0)
        return 0

    def wake_host(self):
        """Let the host call check() once more."""
        if self.event_fd >= 0:
            os.eventfd_write(self.wake_fd(), 1)

    def hold(self):
        """Run nothing of the loop until let_go()."""
        self.held_count += 1

    def let_go(self):
        self.held_count -= 1

    cdef int turn(self) except -1:
        """Iterate until nothing is left to do, or the time is over."""
        cdef LoopCore loop = self.loop
        cdef int64_t end = now_ns() + self.budget_ns
        uring_mark_awake(&loop.sleep)
        if self.told is not None:
            self.told.tell_fd = -1
        self.drain()
        self.claim()
        while self.step(end):
            if loop._stopping or now_ns() >= end:
                break
            if not self.has_work() and loop.timeout_ns() != 0:
                break
        return 0

    def run_turn(self):
        """Run what there is to run; True if stop() ended it, for the first time."""
        self.check_attached()
        if self.held_count or self.stopped:
            self.drain()
            return False
        self.held_count += 1
        try:
            self.turn()
        finally:
            self.held_count -= 1
            # Also if the time is over or Ctrl-C has come before the iteration's end.
            self.loop.held.finish()
        self.stopped = self.loop._stopping and not self.midway
        return self.stopped

    cdef bint step(self, int64_t end) except -1:
        """One iteration, as LoopCore.step, but it does not sleep; False if the time was
        over before its end. Then the next call goes on where it stopped."""
        cdef LoopCore loop = self.loop
        if not self.midway:
            self.begin_step()
        loop.held.begin()
        while loop.todo and loop.ready:
            loop.todo -= 1
            loop.run_one(loop.pop_ready())
            if now_ns() >= end:
                return False
        if self.portions < 0:
            # As many as are there now, or a flood of them would keep the rest waiting.
            self.portions = self.completions_portions()
        while self.portions:
            self.portions -= 1
            loop.reap(PORTION)
            if now_ns() >= end:
                return False
        if loop.watches_due and not self.has_looked:
            self.has_looked = True
            loop.watcher.look()
        while loop.due:
            loop.run_one(loop.due.popleft())
            if now_ns() >= end:
                return False
        self.midway = False
        loop.held.finish()
        return True

    cdef int begin_step(self) except -1:
        cdef LoopCore loop = self.loop
        loop.step_number += 1
        if loop.timers.handles:
            loop.sweep_timers()
        self.look()
        if loop.timers.handles:
            loop.collect_due()
        loop.todo = len(loop.ready)
        self.portions = -1
        self.has_looked = False
        self.midway = True
        return 0

    cdef Py_ssize_t completions_portions(self) except -1:
        return (self.loop.ring.completions_count + PORTION - 1) // PORTION

    cdef int look(self) except -1:
        """See what has come, without sleeping."""
        cdef LoopCore loop = self.loop
        if loop.ring.need_wait():
            loop.ring.enter(False)
        return 0


cdef int make_set() except -1:
    cdef int fd = epoll_create1(EPOLL_CLOEXEC)
    if fd < 0:
        raise os_error(-errno)
    return fd


@cython.final
cdef class Turn:
    """Calls a function for a host that would print KeyboardInterrupt and SystemExit.

    Compiled: Python code is interrupted by Ctrl-C on its first step already, before
    any `try` of its own.
    """

    def __cinit__(self, function, interrupted):
        self.function = function
        self.interrupted = interrupted

    def __call__(self, *ignored):
        try:
            # PySide calls us even if Ctrl-C came while it converted the arguments.
            uring_raise_pending()
            self.function()
        except (KeyboardInterrupt, SystemExit) as exc:
            self.interrupted(exc)
