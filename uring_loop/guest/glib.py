"""Runs a loop as a source of a GLib main context, and asyncio programs inside GLib.

Needs PyGObject. From the GSource of QEMU's io_uring context; see docs/guest.md.
"""

import asyncio
import contextlib
import math

from gi.repository import GLib

from uring_loop.loop import Loop


def attach(loop, context=None, *, priority=GLib.PRIORITY_DEFAULT, quit=None, **options):
    """Let a GLib main context (default: the default one) run the loop.

    Returns the source. It belongs to the thread that iterates the context;
    `source.destroy()` ends it, and has to come before `loop.close()`.

    quit     called when `loop.stop()` has stopped the loop, and when a callback raises
             KeyboardInterrupt or SystemExit: then `source.failure` is that exception.
             Without `quit`, PyGObject prints it
    options  those of `Guest`

    Raises RuntimeError if the loop is closed or runs already.
    """
    source = LoopSource(loop, quit, options)
    source.set_priority(priority)
    source.attach(context)
    return source


class LoopSource(GLib.Source):
    """A loop as a GSource. Not recursive: in a main loop that a callback runs, the
    loop rests until the callback has returned."""

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
        """The loop no longer runs; another may run it, or it may be closed."""
        super().destroy()
        self._stack.close()


class GLibLoop(Loop):
    """A Loop whose `run_forever` runs a main loop of GLib that runs it.

    So everything of asyncio works inside GLib: `run_until_complete`, `asyncio.Runner`,
    Ctrl-C. `context` is a GLib.MainContext, default the default one; options are
    those of `Loop`.
    """

    def __init__(self, context=None, **options):
        super().__init__(**options)
        self._context = context

    def run_forever(self):
        """Run a GLib.MainLoop until stop() is called, and all its other sources."""
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
