"""Types of uring_loop.glib. PyGObject itself has no types: its objects are Any."""

import asyncio
from collections.abc import Callable
from typing import Any

from uring_loop import Guest, Loop

def attach(
    loop: Loop, context: Any = None, *, priority: int = 0,
    quit: Callable[[], object] | None = None, **options: Any) -> LoopSource: ...

class LoopSource:
    guest: Guest
    failure: BaseException | None
    def __init__(
        self, loop: Loop, quit: Callable[[], object] | None = None,
        options: dict[str, Any] = {}) -> None: ...
    def destroy(self) -> None: ...
    def __getattr__(self, name: str) -> Any: ...

class GLibLoop(Loop):
    def __init__(self, context: Any = None, **options: Any) -> None: ...

class GLibRunner(asyncio.Runner):
    def __init__(
        self, context: Any = None, *, debug: bool | None = None,
        **options: Any) -> None: ...
