"""new_event_loop() and run(): make and run a loop without asyncio's policy."""

from types import CoroutineType

from uring_loop import _compat
from uring_loop.loop import Loop


def new_event_loop(**options):
    """A new Loop; `options` are those of `Loop`. For `loop_factory=`."""
    return Loop(**options)


def run(main, *, debug=None, **options):
    """asyncio.run(main) on a new Loop with these options; returns its result."""
    if "loop_factory" in options:
        close_unstarted(main)
        raise TypeError(
            "uring_loop.run() makes the loop itself and takes no loop_factory: pass "
            "the options of Loop, or use asyncio.run(main(), loop_factory=...)")

    def make_loop():
        try:
            return Loop(**options)
        except BaseException:
            # The error says enough: no warning that main() was never awaited.
            close_unstarted(main)
            raise

    return _compat.run(main, debug=debug, loop_factory=make_loop)


def close_unstarted(main):
    """Close a coroutine that will not run."""
    if isinstance(main, CoroutineType):
        main.close()
