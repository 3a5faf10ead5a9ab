"""Types of uring_loop.glib. PyGObject itself has no types: its objects are Any."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

from gi.repository import GLib
from gi.types import StructMeta

from uring_loop import Guest, Loop

_T = TypeVar("_T")

def attach(
    loop: Loop, context: Any = None, *, priority: int = 0,
    quit: Callable[[], object] | None = None, **options: Any) -> LoopSource: ...

class LoopSource(GLib.Source, metaclass=StructMeta):
    guest: Guest
    failure: BaseException | None
    def __init__(
        self, loop: Loop, quit: Callable[[], object] | None = None,
        options: dict[str, Any] = {}) -> None: ...
    def prepare(self) -> tuple[bool, int]: ...
    def check(self) -> bool: ...
    def dispatch(self, callback: object, args: object) -> bool: ...
    def destroy(self) -> None: ...

class GLibLoop(Loop):
    def __init__(self, context: Any = None, **options: Any) -> None: ...

# A subclass of asyncio.Runner, which typeshed calls final: so its methods stand here.
class GLibRunner:
    def __init__(
        self, context: Any = None, *, debug: bool | None = None,
        **options: Any) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...
    def close(self) -> None: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def run(
        self, coro: Coroutine[Any, Any, _T], *, context: Context | None = None,
    ) -> _T: ...
