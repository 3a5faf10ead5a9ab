"""A loop of each driver, and the loads by which the telemetry's tests make numbers."""

import asyncio
import time

import pytest

import uring_loop

from ..parity import loops
from ..parity.framework import finish


@pytest.fixture(params=loops.OURS)
def loop(request, no_leaks):
    if request.param == "io_uring":
        loops.skip_where_io_uring_is_refused()
    loop = uring_loop.Loop(backend=request.param)
    yield loop
    finish(loop)


async def exchange(message, answer):
    """One connection over TCP, one message to the server and one back."""
    async def serve(reader, writer):
        await reader.readexactly(len(message))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        writer.write(message)
        assert await reader.read() == answer
        writer.close()
        await writer.wait_closed()


def block(seconds):
    """A callback that takes so long by the loop's clock."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
