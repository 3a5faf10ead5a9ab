"""GLib as the host: a loop as a GSource, and asyncio programs on a GLib main loop.

Needs PyGObject. The design is that of the GSource of QEMU's AioContext; see
docs/guest.md.
"""

import asyncio
import contextlib
import math

from gi.repository import GLib

from uring_loop.loop import Loop


def attach(loop, context=None, *, priority=GLib.PRIORITY_DEFAULT, quit=None, **options):
    """Let a GLib main context (default: the default one) run the loop.

    Returns the source, which belongs to the thread that iterates the context.
    `source.destroy()` detaches the loop and must be called before `loop.close()`.

    quit     called after `loop.stop()`, and when a callback raises KeyboardInterrupt or
             SystemExit; then `source.failure` is that exception. Without `quit`,
             PyGObject prints the exception
    options  those of `Guest`

    Raises RuntimeError if the loop is closed or running.
    """
    source = LoopSource(loop, quit, options)
    source.set_priority(priority)
    source.attach(context)
    return source


class LoopSource(GLib.Source):
    """A loop as a GSource. The source is not recursive: while a callback runs the main
    loop, no other callback of the loop runs."""

    def __init__(self, loop, quit=None, options={}):
        super().__init__()
        self.guest = loop.guest(**options)
        self.failure = None
        self._quit = quit
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.guest.running(on_stop=quit))
        self.add_unix_fd(self.guest.fileno(), GLib.IOCondition.IN)

    def prepare(self):
        seconds = self.guest.prepare()
        if seconds is None:
            return False, -1
        return seconds == 0, math.ceil(seconds * 1000)

    def check(self):
        return self.guest.check()

    def dispatch(self, callback, args):
        try:
            self.guest.dispatch()
        except (KeyboardInterrupt, SystemExit) as exc:
            if self._quit is None:
                raise
            self.failure = exc
            self._quit()
        return GLib.SOURCE_CONTINUE

    def destroy(self):
        """Detach the loop, which may then be closed or run by other means."""
        super().destroy()
        self._stack.close()


class GLibLoop(Loop):
    """A Loop whose `run_forever` runs a GLib.MainLoop with the loop as a source.

    So `run_until_complete`, `asyncio.Runner` and Ctrl-C work inside GLib. `context` is
    a GLib.MainContext (default: the default one); options are those of `Loop`.
    """

    def __init__(self, context=None, **options):
        super().__init__(**options)
        self._context = context

    def run_forever(self):
        """Run a GLib.MainLoop, with all its other sources, until stop() is called."""
        main = GLib.MainLoop(self._context)
        source = attach(self, self._context, quit=main.quit)
        try:
            main.run()
        finally:
            source.destroy()
        if source.failure is not None:
            raise source.failure


class GLibRunner(asyncio.Runner):
    """asyncio.Runner on a GLibLoop: `with GLibRunner() as r: r.run(main())`."""

    def __init__(self, context=None, *, debug=None, **options):
        super().__init__(debug=debug, loop_factory=lambda: GLibLoop(context, **options))
