"""new_event_loop() and run(): make and run a loop without asyncio's policy."""

from uring_loop import _compat
from uring_loop.loop import Loop


def new_event_loop(**options):
    """A new Loop; `options` are those of `Loop`. For `loop_factory=`."""
    return Loop(**options)


def run(main, *, debug=None, **options):
    """asyncio.run(main) on a new Loop with these options; returns its result."""
    return _compat.run(main, debug=debug, loop_factory=lambda: Loop(**options))
