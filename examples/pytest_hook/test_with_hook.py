"""Tests with pytest-asyncio on the loops of conftest.py in this folder.

    pip install pytest pytest-asyncio
    python -m pytest -v examples/pytest_hook

Each test runs twice and says so in its name: test_echo[uring_loop], test_echo[asyncio].
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import uring_loop


@pytest_asyncio.fixture
async def echo_port() -> AsyncIterator[int]:
    """The port of a server that lives as long as the test, on the test's loop."""
    async def echo(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.mark.asyncio
async def test_echo(echo_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo_port)
    writer.write(b"to be, " * 100_000)
    writer.write_eof()
    assert await reader.read() == b"to be, " * 100_000
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio(loop_factories=["uring_loop"])
async def test_only_on_uring_loop() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, uring_loop.Loop)
    # The backend and its reason; -s shows the output.
    print(loop.backend, loop.backend_reason)
