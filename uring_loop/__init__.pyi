"""Types of the public names of uring_loop."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from types import TracebackType
from typing import (
    Any, Literal, NamedTuple, Self, TypedDict, TypeVar, TypeVarTuple, Unpack)

from uring_loop import fs as fs
from uring_loop.files.opening import aligned_buffer as aligned_buffer
from uring_loop.files.opening import copyfile as copyfile
from uring_loop.files.opening import open as open
from uring_loop.files.opening import read_bytes as read_bytes
from uring_loop.files.opening import read_text as read_text
from uring_loop.files.opening import write_bytes as write_bytes
from uring_loop.files.opening import write_text as write_text
from uring_loop.files.path import Path as Path

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Backend = Literal["auto", "io_uring", "epoll"]
_TLS = Literal["auto", "stdlib"]
_TaskRun = Literal["defer", "coop"]
_Restrict = Literal[True, False, "files"]

class _Options(TypedDict, total=False):
    backend: _Backend | None
    taskrun: _TaskRun
    sq_entries: int
    poll_max_ns: int
    poll_grow: int
    poll_shrink: int
    single_issuer: bool
    gather_writes: bool | None
    restrict: _Restrict | None
    tls: _TLS | None

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
        single_issuer: bool = True,
        gather_writes: bool | None = None,
        restrict: _Restrict | None = None,
        tls: _TLS | None = None,
    ) -> None: ...
    @property
    def tls_engine(self) -> Literal["openssl", "stdlib"]: ...
    @property
    def tls_engine_reason(self) -> str: ...
    # The driver's own object: not part of the stable interface.
    @property
    def ring(self) -> Any: ...
    @property
    def backend(self) -> Literal["io_uring", "epoll"]: ...
    @property
    def ring_flags(self) -> tuple[str, ...]: ...
    @property
    def ring_refused(self) -> dict[str, str]: ...
    @property
    def ring_restricted(self) -> _Restrict: ...
    def set_poll(
        self, *, max_ns: int = 0, grow: int = 0, shrink: int = 0) -> None: ...
    def statistics(self) -> Statistics: ...
    def watch_callbacks(
        self,
        report: Callable[[object, float, float], object] | None,
        *,
        seconds: float = 0.1,
    ) -> None: ...
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

class Statistics(NamedTuple):
    iterations: int
    callbacks: int
    busy_seconds: float
    received_bytes: int
    sent_bytes: int
    accepts: int
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

class _Ends:
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

class IOThread(_Ends):
    loop: Loop
    def __init__(
        self,
        name: str | None = None,
        *,
        daemon: bool = False,
        cpu_affinity: int | Iterable[int] | None = None,
        **loop_options: Unpack[_Options],
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def native_id(self) -> int: ...
    @property
    def daemon(self) -> bool: ...
    @property
    def state(self) -> Literal["starting", "running", "stopping", "stopped"]: ...
    @property
    def load(self) -> float: ...
    def run(self, coro: Coroutine[Any, Any, _T]) -> Future[_T]: ...
    def submit(
        self, fn: Callable[[Unpack[_Ts]], _T], /, *args: Unpack[_Ts]
    ) -> Future[_T]: ...
    def stop(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...

class ShardedServer:
    def __init__(
        self, threads: Iterable[IOThread], first: asyncio.Server) -> None: ...
    @property
    def addresses(self) -> tuple[Any, ...]: ...
    def close(self, grace_seconds: float | None = None) -> Future[None]: ...

class IOThreadGroup(_Ends):
    threads: tuple[IOThread, ...]
    def __init__(
        self,
        count: int,
        name: str = "IOThreadGroup",
        *,
        daemon: bool = False,
        cpu_affinity: Iterable[int | Iterable[int] | None] | None = None,
        **loop_options: Unpack[_Options],
    ) -> None: ...
    def run_on_least_loaded(self, coro: Coroutine[Any, Any, _T]) -> Future[_T]: ...
    def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        *,
        path: str | None = None,
        sock: socket.socket | None = None,
        reuse_port: bool | None = None,
        **options: Any,
    ) -> Future[ShardedServer]: ...
    def start_server(
        self,
        client_connected_cb: Callable[
            [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None
        ],
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        *,
        limit: int = 65536,
        path: str | None = None,
        sock: socket.socket | None = None,
        reuse_port: bool | None = None,
        **options: Any,
    ) -> Future[ShardedServer]: ...
    def stop(self, grace_seconds: float | None = 0) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...

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
        "EventLoopPolicy", "Guest", "IOThread", "IOThreadGroup", "Loop", "Path",
        "ShardedServer", "Statistics", "__version__", "aligned_buffer", "copyfile",
        "fs", "install", "new_event_loop", "open", "read_bytes", "read_text", "run",
        "write_bytes", "write_text"]
else:
    __all__ = [
        "Guest", "IOThread", "IOThreadGroup", "Loop", "Path", "ShardedServer",
        "Statistics", "__version__", "aligned_buffer", "copyfile", "fs", "install",
        "new_event_loop", "open", "read_bytes", "read_text", "run", "write_bytes",
        "write_text"]
