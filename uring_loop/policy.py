"""EventLoopPolicy and install(): asyncio's policy with our Loop."""

from uring_loop import _compat
from uring_loop.loop import Loop


class EventLoopPolicy(_compat.DefaultPolicy):
    """asyncio's policy, which makes a Loop for each thread.

    Python 3.11 to 3.15; asyncio deprecates policies from 3.14 on. There and on newer
    versions pass `loop_factory=uring_loop.new_event_loop` instead.
    """

    _loop_factory = Loop


def install():
    """Set asyncio's policy to EventLoopPolicy: every new loop is a Loop.

    Raises RuntimeError on Python 3.16 and later, where asyncio has no policies.
    """
    if not _compat.HAS_POLICIES:
        raise RuntimeError(
            "asyncio has no event loop policies from Python 3.16 on: use "
            "asyncio.run(main(), loop_factory=uring_loop.new_event_loop)")
    _compat.set_policy(EventLoopPolicy())
