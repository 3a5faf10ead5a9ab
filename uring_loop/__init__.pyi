"""Types of the public names of uring_loop."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from uring_loop import fs as fs
from uring_loop.files import aligned_buffer as aligned_buffer
from uring_loop.files import copyfile as copyfile
from uring_loop.files import open as open
from uring_loop.files import read_bytes as read_bytes
from uring_loop.files import read_text as read_text
from uring_loop.files import write_bytes as write_bytes
from uring_loop.files import write_text as write_text
from uring_loop.path import Path as Path

_T = TypeVar("_T")
_Backend = Literal["auto", "io_uring", "selector"]
_TaskRun = Literal["defer", "coop"]

class _Options(TypedDict, total=False):
    backend: _Backend | None
    taskrun: _TaskRun
    sq_entries: int

__version__: str

class Loop(asyncio.SelectorEventLoop):
    backend_reason: str
    def __init__(
        self,
        *,
        backend: _Backend | None = None,
        taskrun: _TaskRun = "defer",
        sq_entries: int = 256,
    ) -> None: ...
    @property
    def backend(self) -> Literal["io_uring", "selector"]: ...
    @property
    def ring_flags(self) -> tuple[str, ...]: ...
    @property
    def ring_refused(self) -> dict[str, str]: ...

def new_event_loop(**options: Unpack[_Options]) -> Loop: ...
def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    **options: Unpack[_Options],
) -> _T: ...
def install() -> None: ...

if sys.version_info < (3, 16):
    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> Loop: ...

    __all__ = [
        "EventLoopPolicy", "Loop", "Path", "__version__", "aligned_buffer", "copyfile",
        "fs", "install", "new_event_loop", "open", "read_bytes", "read_text", "run",
        "write_bytes", "write_text"]
else:
    __all__ = [
        "Loop", "Path", "__version__", "aligned_buffer", "copyfile", "fs", "install",
        "new_event_loop", "open", "read_bytes", "read_text", "run", "write_bytes",
        "write_text"]
