"""uring_loop: a drop-in asyncio event loop for Linux, on io_uring or epoll."""

import sys

from uring_loop import _compat, native  # noqa: F401 (native loads the compiled modules)
from uring_loop._version import __version__
from uring_loop.files import (
    aligned_buffer, copyfile, fs, open, read_bytes, read_text, write_bytes, write_text)
from uring_loop.guest.guest import Guest
from uring_loop.loop import Loop
from uring_loop.policy import install
from uring_loop.running import new_event_loop, run
from uring_loop.scheduler.statistics import Statistics
from uring_loop.threads.iothread import IOThread
from uring_loop.threads.iothread_group import IOThreadGroup
from uring_loop.threads.sharded_server import ShardedServer

__all__ = [
    "Guest", "IOThread", "IOThreadGroup", "Loop", "Path", "ShardedServer", "Statistics",
    "__version__", "aligned_buffer", "copyfile", "fs", "install", "new_event_loop",
    "open", "read_bytes", "read_text", "run", "write_bytes", "write_text"]

if _compat.HAS_POLICIES:
    from uring_loop.policy import EventLoopPolicy
    __all__ += ["EventLoopPolicy"]

# So that "import uring_loop.fs" finds the module of its floor.
sys.modules[f"{__name__}.fs"] = fs


def __getattr__(name):
    # The only class that is imported when its name is first used: it needs pathlib,
    # which takes a quarter of the time that all the rest takes.
    if name == "Path":
        from uring_loop.files.path import Path
        globals()[name] = Path
        return Path
    if name == "EventLoopPolicy":
        raise AttributeError(
            "uring_loop.EventLoopPolicy exists up to Python 3.15, since asyncio has no "
            "policies any more: pass loop_factory=uring_loop.new_event_loop instead")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
