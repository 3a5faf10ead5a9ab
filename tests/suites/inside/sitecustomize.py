"""Puts the loop under test in, in each interpreter that a suite starts.

The harness puts this folder first on PYTHONPATH, so that Python imports this file at
start-up: before the project under test, and in its child processes as well.
"""

import os


def put_in(loop_class):
    """Make the class the one that asyncio gives to everybody."""
    import asyncio
    from asyncio import unix_events

    class LoopUnderTest(loop_class):
        """Takes the selector that SelectorEventLoop() may be given, and closes it."""

        def __init__(self, selector=None):
            if selector is not None:
                selector.close()
            super().__init__()

    # Some tests ask for the name of the loop's class, and expect asyncio's.
    stock = unix_events._UnixSelectorEventLoop
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(LoopUnderTest, name, getattr(stock, name))
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
            if hasattr(module, name):
                setattr(module, name, LoopUnderTest)
    # 3.14 made the policy class private.
    for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
        if hasattr(unix_events, name):
            getattr(unix_events, name)._loop_factory = LoopUnderTest


if os.environ.get("SUITES_LOOP") == "uring_loop":
    import uring_loop

    put_in(uring_loop.Loop)
