"""Types of the public names of uring_loop."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Literal, TypedDict, TypeVar, Unpack

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
        "EventLoopPolicy", "Loop", "__version__", "install", "new_event_loop", "run"]
else:
    __all__ = ["Loop", "__version__", "install", "new_event_loop", "run"]
