"""The rule by which a connection's writes of one callback are sent together.

asyncio sends within write(). So do our transports, except for connections that have
shown a habit: in each of their last iterations that wrote, they wrote more than once,
as a server does that writes the head of an answer and then its body. From then on the
first piece waits for the next one, at most until the callback that wrote it has
returned, or until anything else wants to send; then all pieces go out with one
sendmsg(2). A send costs more than all that the loop itself does for a request.

A connection that breaks the habit sends at once again, and so does a connection whose
callback took long while a piece was waiting. A connection whose descriptor is known
outside the transport is never held back: its bytes must be in the kernel when write()
returns, or the program's own bytes would overtake them.
"""

from uring_loop.scheduler.loop_core cimport Writer

cdef enum:
    # Iterations after which it is a habit.
    HABIT_AFTER = 4
    # ... and after which it may be one again.
    PAUSE = -64
    # The peer of a held piece must not notice the delay.
    LONG_NS = 500_000


cdef class PiecemealWriter(Writer):
    """Base of transports: counts how the application writes."""

    cdef bint writes_piecemeal(self, unsigned int step) noexcept:
        """To be asked with each write: may it wait for the next one?"""
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
        return self.habit == HABIT_AFTER and not self.exposed

    cdef int note_flushed(self, Py_ssize_t pieces_count, int64_t held_ns) noexcept:
        """The pieces that went out together, and how long the first one waited."""
        # Cannot raise: numbers only.
        if pieces_count == 1 or held_ns > LONG_NS:
            self.habit = PAUSE
        return 0

    def _flush_held(self):
        """Send what is held back."""
        self.flush_held()

    def _expose(self):
        """The descriptor becomes known outside: hold nothing back from now on."""
        self.exposed = True
        self.flush_held()
