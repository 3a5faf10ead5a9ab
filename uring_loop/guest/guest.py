"""Guest: a loop that a foreign main loop runs, without a helper thread."""

import asyncio
import contextlib
import sys
from asyncio import events

from uring_loop import _compat
from uring_loop.guest.guest_core import GuestCore


class Guest(GuestCore):
    """Lets a foreign main loop (the host) run a Loop, turn by turn, in its own thread.

    loop    a `Loop` that is neither running nor closed
    budget  seconds after which `dispatch` returns, even if more callbacks are ready; at
            least one callback runs

    In each of its turns, inside `with guest.running():`, the host

    1. asks `prepare()` how long it may sleep,
    2. sleeps until then, or until `fileno()` is readable,
    3. calls `dispatch()` if `check()` says so.

    A host without a hook before its sleep calls `dispatch()`, then `prepare()`,
    whenever the descriptor is readable or the time is over: see `uring_loop.hosts`.

    Work that the host's code schedules between turns (`call_soon`, `create_task`,
    `call_later`, `transport.write`, ...) makes the descriptor readable. The design is
    that of the GSource in QEMU's `fdmon-io_uring`; see docs/guest.md.
    """

    def __init__(self, loop, *, budget=0.005):
        super().__init__()
        self._on_stop = None

    @contextlib.contextmanager
    def running(self, on_stop=None):
        """Context manager around the host's main loop, within which the loop is
        running.

        on_stop()  is called after `loop.stop()`, and should end the host's main loop.
                   No callback of the loop runs from then on.

        Raises RuntimeError if the loop is closed or running. As `run_forever`, this
        makes the calling thread the ring's owner and may move the loop to a new ring.
        """
        loop = self.loop
        loop._check_closed()
        if loop.is_running():
            raise RuntimeError("This event loop is already running")
        self._on_stop = on_stop
        self.begin()
        try:
            loop._set_coroutine_origin_tracking(loop.get_debug())
            installed = loop._install_wakeup_fd()
            try:
                yield self
            finally:
                if installed:
                    loop._restore_wakeup_fd()
                loop._set_coroutine_origin_tracking(False)
        finally:
            self.end()
            self._on_stop = None
            loop._stopping = False
            loop._thread_id = None

    def dispatch(self):
        """Run the loop's ready callbacks, for about `budget` seconds at most.

        An exception in a callback goes to the loop's exception handler.
        KeyboardInterrupt and SystemExit are raised here, and the next call continues
        behind the callback that raised. While a callback runs the host's main loop,
        this does nothing, since asyncio's callbacks are not reentrant; events that
        arrive meanwhile are handled when the callback has returned.
        """
        loop = self.loop
        previous = events._get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(loop)
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook,
                               finalizer=loop._asyncgen_finalizer_hook)
        try:
            stopped = self.run_turn()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(previous)
        if stopped and self._on_stop is not None:
            self._on_stop()

    @contextlib.contextmanager
    def paused(self):
        """Context manager within which no callback of the loop runs, and asyncio has no
        running loop.

        For a callback that runs another asyncio loop, and for host code that must not
        be interrupted by callbacks.
        """
        loop = self.loop
        previous = events._get_running_loop()
        task = asyncio.current_task(loop) if previous is loop else None
        if task is not None:
            _compat.leave_task(loop, task)
        events._set_running_loop(None)
        self.hold()
        try:
            yield
        finally:
            self.let_go()
            events._set_running_loop(previous)
            if task is not None:
                _compat.enter_task(loop, task)
            self.wake_host()
