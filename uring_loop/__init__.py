"""uring_loop: a drop-in asyncio event loop for Linux whose I/O runs on io_uring."""

from uring_loop import _compat
from uring_loop._version import __version__
from uring_loop.guest import Guest
from uring_loop.iothread import IOThread
from uring_loop.iothread_group import IOThreadGroup
from uring_loop.loop import Loop
from uring_loop.policy import install
from uring_loop.running import new_event_loop, run
from uring_loop.sharded_server import ShardedServer
from uring_loop.statistics import Statistics

__all__ = [
    "Guest", "IOThread", "IOThreadGroup", "Loop", "ShardedServer", "Statistics",
    "__version__", "install", "new_event_loop", "run"]

if _compat.HAS_POLICIES:
    from uring_loop.policy import EventLoopPolicy
    __all__ += ["EventLoopPolicy"]


def __getattr__(name):
    if name == "EventLoopPolicy":
        raise AttributeError(
            "uring_loop.EventLoopPolicy exists up to Python 3.15, since asyncio has no "
            "policies any more: pass loop_factory=uring_loop.new_event_loop instead")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
