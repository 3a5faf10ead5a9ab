"""Qt, tkinter and other asyncio loops as hosts, by a descriptor and a timer.

These main loops have no hook before their sleep, as GLib has. So each turn of the guest
ends with `prepare()`, and starts a timer with its result. Each class is a context
manager around the host's own main loop.
"""

import contextlib
import math

from uring_loop.guest.guest_core import Turn


class Host:
    """The base class of the hosts.

    `loop.stop()`, and a callback that raises KeyboardInterrupt or SystemExit, end the
    host's main loop by `quit()`; the exception is raised at the end of the `with`
    block. `guest` is the `Guest`.
    """

    def __init__(self, loop, quit, **options):
        self.guest = loop.guest(**options)
        self._quit = quit
        self._failure = None
        self._turn = Turn(self._take_turn, self._interrupted)
        self._turning = False
        self._silenced = False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.guest.running(on_stop=self._quit))
            self._watch(self.guest.fileno())
            stack.callback(self._unwatch)
            self._set_timer(0.0)
            stack.callback(self._set_timer, None)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _take_turn(self):
        if self._turning:
            # A callback runs the main loop: the descriptor would keep that loop awake.
            self._silenced = True
            self._unwatch()
            return
        self._turning = True
        try:
            self.guest.dispatch()
            self._set_timer(self.guest.prepare())
        finally:
            self._turning = False
            if self._silenced:
                self._silenced = False
                self._watch(self.guest.fileno())

    def _interrupted(self, exc):
        self._failure = exc
        self._quit()

    def _watch(self, fd):
        """Call _turn whenever the descriptor is readable."""
        raise NotImplementedError

    def _unwatch(self):
        raise NotImplementedError

    def _set_timer(self, seconds):
        """Call _turn after `seconds`; replaces the timer of the last call."""
        raise NotImplementedError


class QtHost(Host):
    """Inside Qt: `with QtHost(loop, QtCore): app.exec()`.

    `QtCore` is the module of PySide6, PyQt6 or a compatible binding. The application
    object must exist.
    """

    def __init__(self, loop, QtCore, *, quit=None, **options):
        super().__init__(loop, quit or QtCore.QCoreApplication.quit, **options)
        self._core = QtCore
        self._timer = QtCore.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._turn)

    def _watch(self, fd):
        self._notifier = self._core.QSocketNotifier(
            fd, self._core.QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._turn)

    def _unwatch(self):
        self._notifier.setEnabled(False)

    def _set_timer(self, seconds):
        if seconds is None:
            self._timer.stop()
        else:
            self._timer.start(math.ceil(seconds * 1000))


class TkHost(Host):
    """Inside tkinter: `with TkHost(loop, root): root.mainloop()`."""

    # The value of tkinter.READABLE.
    _READABLE = 2

    def __init__(self, loop, root, *, quit=None, **options):
        super().__init__(loop, quit or root.quit, **options)
        self._root = root
        self._timer = None

    def _watch(self, fd):
        self._fd = fd
        self._root.tk.createfilehandler(fd, self._READABLE, self._turn)

    def _unwatch(self):
        self._root.tk.deletefilehandler(self._fd)

    def _set_timer(self, seconds):
        if self._timer is not None:
            self._root.after_cancel(self._timer)
            self._timer = None
        if seconds is not None:
            self._timer = self._root.after(math.ceil(seconds * 1000), self._turn)


class AsyncioHost(Host):
    """Inside another asyncio loop of the same thread:
    `with AsyncioHost(loop, host): host.run_forever()`, or in a coroutine of the
    host."""

    def __init__(self, loop, host, *, quit=None, **options):
        super().__init__(loop, quit or host.stop, **options)
        self._host = host
        self._timer = None

    def _watch(self, fd):
        self._fd = fd
        self._host.add_reader(fd, self._turn)

    def _unwatch(self):
        self._host.remove_reader(self._fd)

    def _set_timer(self, seconds):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self._host.call_later(seconds, self._turn)
