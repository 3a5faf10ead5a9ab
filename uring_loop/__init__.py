"""uring_loop: a drop-in asyncio event loop for Linux, on io_uring or epoll."""

import sys

from uring_loop import lazy  # noqa: F401 (registers all modules)
from uring_loop import _compat

# Public name -> its module, which runs when the name is first used.
MODULES = {
    "Guest": "guest.guest",
    "IOThread": "threads.iothread",
    "IOThreadGroup": "threads.iothread_group",
    "Loop": "loop",
    "Path": "files.path",
    "ShardedServer": "threads.sharded_server",
    "Statistics": "scheduler.statistics",
    "__version__": "_version",
    "aligned_buffer": "files.opening",
    "copyfile": "files.opening",
    "install": "policy",
    "new_event_loop": "running",
    "open": "files.opening",
    "read_bytes": "files.opening",
    "read_text": "files.opening",
    "run": "running",
    "write_bytes": "files.opening",
    "write_text": "files.opening",
}
if _compat.HAS_POLICIES:
    MODULES["EventLoopPolicy"] = "policy"

# "import uring_loop.fs" finds the module of its floor.
fs = sys.modules[f"{__name__}.fs"] = sys.modules[f"{__name__}.files.fs"]

__all__ = ["fs", *MODULES]


def __getattr__(name):
    if name in MODULES:
        value = getattr(sys.modules[f"{__name__}.{MODULES[name]}"], name)
        globals()[name] = value
        return value
    if name == "EventLoopPolicy":
        raise AttributeError(
            "uring_loop.EventLoopPolicy exists up to Python 3.15, since asyncio has no "
            "policies any more: pass loop_factory=uring_loop.new_event_loop instead")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
