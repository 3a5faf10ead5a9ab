"""Guest: a loop that somebody else's main loop runs, without a helper thread."""

import asyncio
import contextlib
import sys
from asyncio import events

from uring_loop import _compat
from uring_loop.guest.guest_core import GuestCore


class Guest(GuestCore):
    """Lets a foreign main loop (the host) run a Loop, turn by turn, in its own thread.

    loop    a `Loop` that is neither running nor closed
    budget  seconds after which `dispatch` comes back, though there may be more to do;
            one callback runs in any case

    In each of its turns, inside `with guest.running():`, the host

    1. asks `prepare()` how long it may sleep,
    2. sleeps until then, or until `fileno()` is readable,
    3. calls `dispatch()` if `check()` says so.

    A host that cannot be asked before it sleeps calls `dispatch()`, then `prepare()`
    whenever the descriptor is readable or the time is over: see `uring_loop.hosts`.

    Whatever the host's code schedules in between (`call_soon`, `create_task`,
    `call_later`, `transport.write`, ...) wakes it up. From the GSource of QEMU's
    `fdmon-io_uring`; see docs/guest.md.
    """

    def __init__(self, loop, *, budget=0.005):
        super().__init__()
        self._on_stop = None

    @contextlib.contextmanager
    def running(self, on_stop=None):
        """The loop counts as running in here; the host's main loop belongs inside.

        on_stop()  is called when the loop has been stopped by `loop.stop()`: let it
                   end the host's main loop. The loop rests from then on.

        Raises RuntimeError if the loop is closed or runs already. As `run_forever`,
        this makes the calling thread the ring's owner and may move the ring.
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
        """Run what there is to run, for about `budget` seconds at most.

        An exception in a callback goes to the loop's exception handler; only
        KeyboardInterrupt and SystemExit come out of here, and the next call goes on
        behind the callback that raised. In a callback that runs the host's main loop
        this does nothing, since asyncio's callbacks do not expect each other in their
        midst; what comes meanwhile is served when the callback has returned.
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
        """In here nothing of the loop is run, and asyncio knows of no running loop.

        For a callback that runs another asyncio loop, and for host code that is not
        to be disturbed.
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
