"""Types of uring_loop.hosts."""

import asyncio
import tkinter
from collections.abc import Callable
from types import ModuleType
from typing import Any, Self

from uring_loop import Guest, Loop

class Host:
    guest: Guest
    def __init__(
        self, loop: Loop, quit: Callable[[], object], **options: Any) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

class QtHost(Host):
    def __init__(
        self, loop: Loop, QtCore: ModuleType, *,
        quit: Callable[[], object] | None = None, **options: Any) -> None: ...

class TkHost(Host):
    def __init__(
        self, loop: Loop, root: tkinter.Misc, *,
        quit: Callable[[], object] | None = None, **options: Any) -> None: ...

class AsyncioHost(Host):
    def __init__(
        self, loop: Loop, host: asyncio.AbstractEventLoop, *,
        quit: Callable[[], object] | None = None, **options: Any) -> None: ...
