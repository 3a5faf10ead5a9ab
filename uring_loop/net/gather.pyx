"""The rule by which writes wait for each other, to be sent in one pass.

A send between two callbacks wakes the peer, cools the processor's caches, and costs
more than all that the loop itself does for a request. So:

alone    A write is sent within write(), as on asyncio, if nothing else is ready in this
         iteration: no handle, completion, report of a watch or due timer is left, and
         nothing is held back. So a callback may wait, without `await`, for what its
         write causes, and one connection at a time waits for nothing.
company  Otherwise it waits for the end of the iteration (scheduler/held_writes.pyx),
         unless callbacks are so quick that the peer would be awake anyway.
habit    A connection that is alone and has written several times in each of its last
         iterations, as a server does that writes the head of an answer and then its
         body, has the pieces of one callback sent together when that has returned.
bulk     16 KiB or more gain little from waiting for other connections, and wait by
         habit only: a sender of 64 KiB pieces makes half the system calls. With TLS it
         makes a fifth: the peer decrypts faster than the records are made, would sleep
         after each piece, and to wake it costs more than the send.

Whoever looks finds everything sent: close(), get_write_buffer_size(), a fork and so on.
A connection whose descriptor is known outside the transport is never held back: its
bytes must be in the kernel when write() returns, or the program's own would overtake
them.
"""

from uring_loop.driver.capi cimport FREE_THREADED
from uring_loop.driver.uapi cimport io_uring_cq_ready
from uring_loop.scheduler.held_writes cimport Writer
from uring_loop.scheduler.loop_core cimport LoopCore

cdef enum:
    # Iterations after which it is a habit.
    HABIT_AFTER = 4
    # ... and after which it may be one again.
    PAUSE = -64


cdef bint has_company(LoopCore loop) noexcept:
    """Is anything held back, or left to run in an iteration whose writes wait for each
    other?"""
    # Loads only: cannot raise.
    return loop.held.first is not None or loop.held.together and (
        loop.todo > 0 or loop.reports_left > 0 or loop.watches_due
        or io_uring_cq_ready(&loop.ring.ring) > 0 or len(loop.due) > 0)


cdef class GatheringWriter(Writer):
    """Base of transports: decides whether a write may wait."""

    cdef bint may_hold(self, bint bulk) noexcept:
        """To be asked once for each write.

        bulk  No copy of the bytes is needed to keep them, but they are many
        """
        # Cannot raise: loads and numbers only.
        cdef LoopCore loop = self.loop
        cdef bint piecemeal = self.writes_piecemeal(<unsigned int>loop.step_number)
        if not loop.held.open or self.exposed or loop.ring.is_forked():
            return False
        return piecemeal or not bulk and has_company(loop)

    cdef bint writes_piecemeal(self, unsigned int step) noexcept:
        """Count a write: is it a habit to write several times in an iteration?"""
        # Cannot raise: numbers only.
        if self.write_step == step:
            if self.writes_count < 2:
                self.writes_count += 1
        else:
            if self.writes_count < 2:
                self.habit = min(self.habit, 0)
            elif self.habit < HABIT_AFTER:
                self.habit += 1
            self.write_step = step
            self.writes_count = 1
        return self.habit == HABIT_AFTER

    cdef int note_sent(self) noexcept:
        """What was held leaves: was it a single piece that waited for a second one?"""
        # Cannot raise: numbers only.
        if self.loop.held.until_return and self.writes_count < 2:
            self.habit = PAUSE
        return 0

    cdef int flush_held(self) except -1:
        """If anything of this transport waits in the loop, send all that waits: what
        was written first is sent first."""
        self.check_thread()
        return self.loop.held.flush() if self.is_held else 0

    cdef int check_thread(self) except -1:
        """Without a GIL, refuse a call from another thread than the loop's."""
        return self.loop.refuse_elsewhere() if FREE_THREADED else 0

    def _flush_held(self):
        self.flush_held()

    def _expose(self):
        """The descriptor becomes known outside: hold nothing back from now on."""
        self.exposed = True
        self.flush_held()
