"""uring_loop: a drop-in asyncio event loop for Linux whose I/O runs on io_uring."""

import importlib

from uring_loop import _compat
from uring_loop._version import __version__
from uring_loop.loop import Loop
from uring_loop.running import new_event_loop, run

# Imported when first asked for, each from its module (None: it is one): a program
# without files or threads need not wait for them.
_LATER = {
    "Guest": "guest", "Statistics": "scheduler.statistics", "install": "policy",
    "IOThread": "threads.iothread", "IOThreadGroup": "threads.iothread_group",
    "ShardedServer": "threads.sharded_server", "Path": "files",
    "aligned_buffer": "files", "copyfile": "files", "open": "files",
    "read_bytes": "files", "read_text": "files", "write_bytes": "files",
    "write_text": "files", "files": None, "fs": None,
}
__all__ = [
    "Guest", "IOThread", "IOThreadGroup", "Loop", "Path", "ShardedServer", "Statistics",
    "__version__", "aligned_buffer", "copyfile", "fs", "install", "new_event_loop",
    "open", "read_bytes", "read_text", "run", "write_bytes", "write_text"]

if _compat.HAS_POLICIES:
    _LATER["EventLoopPolicy"] = "policy"
    __all__ += ["EventLoopPolicy"]


def __getattr__(name):
    if name in _LATER:
        module = importlib.import_module(f"uring_loop.{_LATER[name] or name}")
        value = globals()[name] = getattr(module, name) if _LATER[name] else module
        return value
    if name == "EventLoopPolicy":
        raise AttributeError(
            "uring_loop.EventLoopPolicy exists up to Python 3.15, since asyncio has no "
            "policies any more: pass loop_factory=uring_loop.new_event_loop instead")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
