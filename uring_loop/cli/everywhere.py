"""Makes every loop that asyncio makes in this process a Loop."""

import asyncio
from asyncio import events

from uring_loop import _compat
from uring_loop.loop import Loop

STOCK = asyncio.SelectorEventLoop


class _Substituting(type):
    """The type of the class that takes asyncio.SelectorEventLoop's place.

    A call of the class makes a Loop. Who passes a selector, or derives a class, wants
    asyncio's own, and gets it.
    """

    def __call__(cls, *args, **kwargs):
        if cls is not SelectorEventLoop:
            return super().__call__(*args, **kwargs)
        if args or kwargs:
            return STOCK(*args, **kwargs)
        return Loop()

    def __instancecheck__(cls, instance):
        if cls is SelectorEventLoop:
            return isinstance(instance, STOCK)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, other):
        if cls is SelectorEventLoop:
            return issubclass(other, STOCK)
        return super().__subclasscheck__(other)


class SelectorEventLoop(STOCK, metaclass=_Substituting):
    __doc__ = STOCK.__doc__


def put_in():
    """For asyncio.run(), Runner, new_event_loop(), asyncio's policy and its class."""
    if _compat.HAS_POLICIES:
        # Not install(): a program that sets asyncio's own policy again means "no
        # policy of another library".
        _compat.DefaultPolicy._loop_factory = Loop
    else:
        asyncio.new_event_loop = events.new_event_loop = new_event_loop
    asyncio.SelectorEventLoop = SelectorEventLoop
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = SelectorEventLoop


def new_event_loop():
    """Create and return a new event loop."""
    return Loop()
