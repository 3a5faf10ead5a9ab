"""Runs a test's coroutine on each kind of loop, with a deadline and no leaks."""

import asyncio
import contextlib
import functools
import gc
import os

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

from ..parity.loops import skip_where_io_uring_is_refused

RINGS = {
    "defer": {"backend": "io_uring", "taskrun": "defer"},
    "coop": {"backend": "io_uring", "taskrun": "coop"},
}
LOOPS = {**RINGS, "epoll": {"backend": "epoll"}}
SECONDS = 3 * PATIENCE_SECONDS


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """Each test collects garbage to see what it left; let it look at little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def run_on(kind, main):
    """The result of the coroutine function on a new loop of this kind."""
    factory = functools.partial(uring_loop.new_event_loop, **LOOPS[kind])

    async def bounded():
        async with asyncio.timeout(SECONDS):
            return await main()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(bounded())


@pytest.fixture(params=LOOPS)
def kind(request):
    if request.param in RINGS:
        skip_where_io_uring_is_refused()
    return request.param


@pytest.fixture
def run(kind, no_leaks):
    """run(main): on a ring of both modes, and on epoll."""
    return functools.partial(run_on, kind)


@pytest.fixture(params=RINGS)
def run_ring(request, no_leaks):
    """run_ring(main): where what is tested is the ring's."""
    skip_where_io_uring_is_refused()
    return functools.partial(run_on, request.param)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@contextlib.contextmanager
def pipe_files():
    """(reader, writer): descriptors of a pipe; what is still open is closed."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            with contextlib.suppress(OSError):
                os.close(fd)


async def in_flight(loop, opcode):
    """Wait until an operation of this name is in the kernel's hands."""
    while not any(opcode in repr(op) for op in loop.ring.in_flight()):
        await asyncio.sleep(0)
    # One iteration more submits it.
    await asyncio.sleep(0)
