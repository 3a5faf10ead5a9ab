"""The list of writers that hold something back until the iteration ends.

Which write may wait is decided above, in net/gather.pyx. This module has the other half
of the rule: what waits leaves in the order of the first write of each writer, in one
pass, when the iteration ends; or earlier, when a callback returns and the first write
has waited for HELD_NS, or when somebody looks. A callback that takes longer than
SLOW_NS while something waits ends that for a while: its peers would notice the delay.
Where processors are contended, most such callbacks have only been preempted, and that
is where gathering gains most. So the thread's own time decides: it is measured where
at least MEASURED_WRITERS wait, which the system call is nothing against, and for all in
the second after a slow callback.

Where the callbacks of an iteration follow each other within QUICK_NS, the peer gets
the next answer before it could fall asleep: then waiting saves no wake-up, and costs
what it takes to keep the bytes. So after some such iterations, writes wait for each
other in one iteration of PROBE_EVERY only, which tells whether it is still so.

The list is made of the writers themselves, so that holding a write costs no object.
"""

cimport cython
from libc.stdint cimport int64_t

from uring_loop.driver.libc cimport RUSAGE_THREAD, getrusage, rusage
from uring_loop.scheduler.busy_poll cimport now_ns

cdef enum:
    HELD_NS = 1_000_000
    SLOW_NS = 4_000_000
    MEASURED_WRITERS = 4
    # From one write to the next, on average over at least so many writers.
    QUICK_NS = 2_500
    QUICK_WRITERS = 4
    # After so many quick iterations in a row ...
    QUICK_AFTER = 16
    # ... one of so many is gathered.
    PROBE_EVERY = 64

# How long a pause is: twice the last one, up to a second; but at least so many times as
# long as the callback took that caused it, so that it is still on when that runs again.
cdef int64_t FIRST_PAUSE_NS = 10_000_000
cdef int64_t LONGEST_PAUSE_NS = 1_000_000_000
cdef int64_t CALLBACK_FACTOR = 10
# After so many pauses' time without a slow callback, the next pause is a first one.
cdef int64_t GOOD_WHILE = 10
# How long the thread's time is measured after a slow callback: see was_preempted().
cdef int64_t MEASURED_NS = 1_000_000_000


cdef class Writer:
    """A transport that can hold back what is written to it."""

    cdef int send_held(self) except -1:
        """Send what waits; the writer has left the list."""
        raise NotImplementedError


@cython.final
cdef class HeldWrites:
    """The writers of one loop that hold something back, in order."""

    cdef int begin(self) except -1:
        """An iteration runs its callbacks from now on."""
        if self.paused and now_ns() >= self.paused_until_ns:
            self.paused = False
        self.open = self.wanted and not self.paused
        self.together = self.apart_count == 0
        if not self.together:
            self.apart_count -= 1
        return 0

    cpdef int finish(self) except -1:
        """The iteration is over, or is left by an exception."""
        self.open = False
        if self.first is None:
            return 0
        if self.together and self.writers_count >= QUICK_WRITERS:
            self.judge()
        return self.flush()

    cdef int add(self, Writer writer, bint until_return) except -1:
        """Let a writer wait that has something to send and is not in the list."""
        if self.first is None:
            self.first = writer
            self.writers_count = 0
            self.until_return = until_return
            self.since_ns = self.checked_ns = now_ns()
            if self.since_ns < self.measured_until_ns:
                self.measure(self.since_ns)
        else:
            self.last.next_held = writer
        self.last = writer
        self.writers_count += 1
        if (self.writers_count == MEASURED_WRITERS
                and self.measured_from_ns < self.since_ns):
            self.measure(now_ns())
        writer.is_held = True
        return 0

    cdef int callback_returned(self) except -1:
        """To be called behind each callback while something waits."""
        cdef int64_t now = now_ns()
        cdef int64_t took_ns = now - self.checked_ns
        self.checked_ns = now
        if took_ns > SLOW_NS:
            if not self.was_preempted(now, took_ns):
                self.pause(now, took_ns)
            self.measured_until_ns = max(now, self.paused_until_ns) + MEASURED_NS
        if self.until_return or not self.open or now - self.since_ns > HELD_NS:
            self.flush()
        return 0

    cpdef int flush(self) except -1:
        """Send all that waits. What one connection's end does, such as an exception
        handler that raises, keeps no other from being sent."""
        interruption = None
        while self.first is not None:
            try:
                while self.first is not None:
                    self.pop().send_held()
            except (SystemExit, KeyboardInterrupt) as exc:
                interruption = exc
            except BaseException:
                # No memory to end a connection: it is marked as broken and shut down,
                # and its next event tries once more (Transport.fail).
                pass
        if interruption is not None:
            raise interruption
        return 0

    cdef Writer pop(self):
        cdef Writer writer = self.first
        self.first = writer.next_held
        if self.first is None:
            self.last = None
        writer.next_held = None
        writer.is_held = False
        return writer

    cdef int judge(self) noexcept:
        """Were the callbacks of this iteration quick?"""
        # Numbers only: cannot raise.
        if self.checked_ns - self.since_ns >= QUICK_NS * self.writers_count:
            self.quick_count = 0
            return 0
        self.quick_count += 1
        if self.quick_count >= QUICK_AFTER:
            self.quick_count = QUICK_AFTER
            self.apart_count = PROBE_EVERY - 1
        return 0

    cdef int measure(self, int64_t now) noexcept:
        # A system call that cannot fail: cannot raise.
        self.measured_from_ns = now
        read_usage(&self.cpu_ns, &self.waits_count)
        return 0

    cdef bint was_preempted(self, int64_t now, int64_t took_ns) noexcept:
        """Did a slow callback only want for the processor, since other processes had
        it? No, if this list has not been measured."""
        # Numbers only: cannot raise.
        cdef int64_t cpu_ns, idle_ns
        cdef long waits_count
        if self.measured_from_ns < self.since_ns:
            return False
        read_usage(&cpu_ns, &waits_count)
        idle_ns = (now - self.measured_from_ns) - (cpu_ns - self.cpu_ns)
        return took_ns - idle_ns < SLOW_NS and waits_count == self.waits_count

    cdef int pause(self, int64_t now, int64_t took_ns) except -1:
        """Hold nothing back for a while, since a callback was slow."""
        if now - self.paused_until_ns > GOOD_WHILE * self.pause_ns:
            self.pause_ns = 0
        self.pause_ns = max(
            min(max(2 * self.pause_ns, FIRST_PAUSE_NS), LONGEST_PAUSE_NS),
            CALLBACK_FACTOR * took_ns)
        self.paused_until_ns = now + self.pause_ns
        self.paused = True
        self.open = False
        return 0


cdef void read_usage(int64_t *cpu_ns, long *waits_count) noexcept:
    """The calling thread's processor time, and how often it has waited of its own
    accord: in a system call, or for the GIL."""
    # Cannot fail with these arguments.
    cdef rusage usage
    getrusage(RUSAGE_THREAD, &usage)
    cpu_ns[0] = 1000 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) + (
        1_000_000_000 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec))
    waits_count[0] = usage.ru_nvcsw
