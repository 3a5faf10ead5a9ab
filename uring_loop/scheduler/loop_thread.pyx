"""LoopThread: which thread runs a loop, and how other threads wake it.

A loop belongs to the thread that runs it. What any thread may call at any time is a
short list (docs/threads.md). With a GIL a call that is not in it does what it did on
asyncio: mostly it works. Without a GIL it would change a structure of the loop in the
middle of another change, so there it is refused.
"""

cimport cython

from uring_loop.driver.capi cimport PyThread_get_thread_ident
from uring_loop.driver.uapi cimport uring_set_fd, uring_wake
from uring_loop.scheduler.handles cimport HandleOwner


cdef class LoopThread(HandleOwner):
    """The base class of LoopCore for what concerns its thread."""

    def __cinit__(self, *args, **kwargs):
        uring_set_fd(&self.sleep, -1)
        # Nothing to close, until BaseEventLoop.__init__ says otherwise.
        self._closed = True

    @property
    def _thread_id(self):
        return self.runner or None

    @_thread_id.setter
    def _thread_id(self, ident):
        # A number, so that another thread can read it while it changes.
        self.runner = ident or 0

    def is_running(self):
        return self.runner != 0

    def is_closed(self):
        return self._closed

    def _check_closed(self):
        if self._closed:
            raise RuntimeError("Event loop is closed")

    cdef int now_runs(self, handle) except -1:
        # Other threads read it: each gets a handle that stays alive.
        with cython.critical_section(self):
            self._current_handle = handle
        return 0

    def _write_to_self(self):
        uring_wake(&self.sleep)

    cdef bint is_elsewhere(self) noexcept:
        # Compares numbers: cannot raise.
        return self.runner != 0 and self.runner != PyThread_get_thread_ident()

    cdef int refuse_elsewhere(self) except -1:
        """Raise asyncio's error if another thread runs the loop."""
        if self.is_elsewhere():
            self._check_thread()
        return 0
