"""Types of the public names of uring_loop."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, Unpack

_T = TypeVar("_T")
_Backend = Literal["auto", "io_uring", "selector"]
_TaskRun = Literal["defer", "coop"]

class _Options(TypedDict, total=False):
    backend: _Backend | None
    taskrun: _TaskRun
    sq_entries: int
    poll_max_ns: int
    poll_grow: int
    poll_shrink: int

__version__: str

class Loop(asyncio.SelectorEventLoop):
    backend_reason: str
    def __init__(
        self,
        *,
        backend: _Backend | None = None,
        taskrun: _TaskRun = "defer",
        sq_entries: int = 256,
        poll_max_ns: int = 0,
        poll_grow: int = 0,
        poll_shrink: int = 0,
    ) -> None: ...
    @property
    def backend(self) -> Literal["io_uring", "selector"]: ...
    @property
    def ring_flags(self) -> tuple[str, ...]: ...
    @property
    def ring_refused(self) -> dict[str, str]: ...
    def set_poll(
        self, *, max_ns: int = 0, grow: int = 0, shrink: int = 0) -> None: ...
    def statistics(self) -> Statistics: ...
    def guest(self, *, budget: float = 0.005) -> Guest: ...

class Guest:
    def __init__(self, loop: Loop, *, budget: float = 0.005) -> None: ...
    @property
    def loop(self) -> Loop: ...
    @property
    def is_attached(self) -> bool: ...
    def fileno(self) -> int: ...
    def prepare(self) -> float | None: ...
    def check(self) -> bool: ...
    def dispatch(self) -> None: ...
    def running(
        self, on_stop: Callable[[], object] | None = None,
    ) -> AbstractContextManager[Guest]: ...
    def paused(self) -> AbstractContextManager[None]: ...

@dataclass(frozen=True, slots=True)
class Statistics:
    iterations: int
    enters: int
    completions: int
    full_queues: int
    in_flight: int
    ready: int
    timers: int
    pool_buffers: int
    poll_ns: int
    spins_hit: int
    spins_missed: int
    spun_ns: int

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
        "EventLoopPolicy", "Guest", "Loop", "Statistics", "__version__", "install",
        "new_event_loop", "run"]
else:
    __all__ = [
        "Guest", "Loop", "Statistics", "__version__", "install", "new_event_loop",
        "run"]
