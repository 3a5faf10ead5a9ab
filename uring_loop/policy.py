"""EventLoopPolicy: every thread's new loop is a Loop of its own."""

from uring_loop import _compat
from uring_loop.loop import Loop


class EventLoopPolicy(_compat.DefaultPolicy):
    """asyncio's policy, whose loops are uring_loop's: one ring for each thread.

    Python 3.11 to 3.15; asyncio deprecates policies from 3.14 on. There and on newer
    versions pass `loop_factory=uring_loop.new_event_loop` instead.
    """

    _loop_factory = Loop


def install():
    """Make uring_loop the policy of asyncio: every new loop is one of ours.

    Raises RuntimeError where asyncio has no policies any more (3.16).
    """
    if not _compat.HAS_POLICIES:
        raise RuntimeError(
            "asyncio has no event loop policies from Python 3.16 on: use "
            "asyncio.run(main(), loop_factory=uring_loop.new_event_loop)")
    _compat.set_policy(EventLoopPolicy())
