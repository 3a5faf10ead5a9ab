"""Without memory a stream has no hole: all bytes come, or the connection ends.

Each allocation of an iteration fails in turn, by CPython's own test module.
"""

import asyncio
import logging
import socket

import pytest

from .endpoints import KERNEL_BYTES, PEER_SECONDS, pattern
from .framework import open_fds, promise

pytest.importorskip(
    "_testcapi", reason="this CPython was built without its test module")

from ..nomem.lacking import PythonLacks, run_lacking, turn  # noqa: E402

# The first allocation that fails, and how many fail in a row.
FAILURES = [(first, count) for count in (1, 3, 8) for first in range(0, 40)]
MUCH = 200_000


class Plain:
    """Collects by the simplest code: CPython's own may crash without memory."""

    def __init__(self):
        self.parts = []
        self.losses = []
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.losses.append(exc)

    @property
    def data(self):
        return b"".join(self.parts)


class Reader(Plain, asyncio.Protocol):
    def data_received(self, data):
        self.parts.append(data)


class BufferedReader(Plain, asyncio.BufferedProtocol):
    def __init__(self):
        super().__init__()
        self.buffer = bytearray(4096)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        # Through a view: a slice of a bytearray whose memory is missing makes 3.14
        # print a SystemError ("deallocated bytearray object has exported buffers").
        self.parts.append(bytes(memoryview(self.buffer)[:nbytes]))


class Pausing(Reader):
    """Pauses in its first data_received(), so that what comes next is kept."""

    def data_received(self, data):
        self.parts.append(data)
        if len(self.parts) == 1:
            self.transport.pause_reading()


READERS = {
    "small": (Reader, 0, 5_000),
    "bulk": (Reader, MUCH, MUCH),
    "buffered": (BufferedReader, 0, 5_000),
    "buffered in bulk": (BufferedReader, MUCH, MUCH),
    # More than one buffer of the pool, so that several completions come at once.
    "kept in a pause": (Pausing, 0, 40_000),
}


async def connect(loop, owned, protocol):
    """A connection whose socket is the loop's or the user's, and its far end."""
    if owned == "user's":
        near, far = socket.socketpair()
        await loop.create_connection(lambda: protocol, sock=near)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await loop.create_connection(lambda: protocol, *listener.getsockname())
            far, _ = listener.accept()
            protocol.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    far.settimeout(PEER_SECONDS)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MUCH)
    return far


async def received(protocol, size):
    async with asyncio.timeout(PEER_SECONDS):
        while len(protocol.data) < size and not protocol.losses:
            await asyncio.sleep(0)


def read_with_failure(loop, owned, kind, before, size, failure):
    """Whether the connection ended; fails if it went on with a hole."""
    protocol = kind()
    far = loop.run_until_complete(connect(loop, owned, protocol))
    far.sendall(pattern(before))
    loop.run_until_complete(received(protocol, before))
    far.sendall(pattern(size, seed=2))
    run_lacking(loop, PythonLacks(*failure))
    try:
        far.sendall(b"behind")
    except OSError:
        assert protocol.losses or protocol.transport.is_closing()
    turn(loop)
    protocol.transport.resume_reading()
    expected = pattern(before) + pattern(size, seed=2) + b"behind"
    loop.run_until_complete(received(protocol, len(expected)))
    turn(loop)
    got = protocol.data
    ended = list(protocol.losses)
    if ended:
        assert [type(error) for error in ended] == [MemoryError]
        assert expected.startswith(got)
    else:
        assert got == expected
    protocol.transport.abort()
    turn(loop)
    assert len(protocol.losses) == 1
    far.close()
    return bool(ended)


@pytest.mark.parametrize("name, owned", [
    (name, owned) for name in READERS for owned in ("loop's", "user's")
    # What is read by readiness is never kept.
    if (name, owned) != ("kept in a pause", "user's")])
@promise
def test_a_reader_that_lacks_memory_has_no_hole(loop, trace, name, owned):
    loop.set_exception_handler(lambda loop, context: None)
    logging.disable(logging.CRITICAL)
    try:
        ended = [read_with_failure(loop, owned, *READERS[name], failure)
                 for failure in FAILURES]
    finally:
        logging.disable(logging.NOTSET)
    assert any(ended), "no allocation that failed mattered"
    assert not all(ended)


def write_with_failure(loop, owned, data, failure):
    """Whether the connection ended; fails if it went on with a hole, or cannot end."""
    protocol = Reader()
    far = loop.run_until_complete(connect(loop, owned, protocol))
    transport = protocol.transport
    # Filled beforehand: noting a success must not need memory.
    written = [False] * len(data)

    def write():
        for number, part in enumerate(data):
            transport.write(part)
            written[number] = True

    run_lacking(loop, PythonLacks(*failure), write)
    transport.write(b"behind")
    transport.close()
    got = b""
    far.setblocking(False)
    while True:
        turn(loop, 1)
        try:
            part = far.recv(1 << 20)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            break
        if not part:
            break
        got += part
    turn(loop)
    ended = list(protocol.losses)
    if ended != [None]:
        assert [type(error) for error in ended] == [MemoryError]
    else:
        parts = [bytes(part) for part, done in zip(data, written) if done]
        assert got == b"".join(parts) + b"behind"
    assert len(protocol.losses) == 1
    far.close()
    return ended != [None]


WRITES = {
    "bytes": [bytes(3 * MUCH)],
    "bytearray": [bytearray(3 * MUCH)],
    "small ones behind a big one": [bytes(3 * MUCH), b"one", bytearray(b"two")],
}


@pytest.mark.parametrize("owned", ["loop's", "user's"])
@pytest.mark.parametrize("name", WRITES)
@promise
def test_a_writer_that_lacks_memory_can_end(loop, trace, name, owned):
    loop.set_exception_handler(lambda loop, context: None)
    logging.disable(logging.CRITICAL)
    before = open_fds()
    try:
        ended = [write_with_failure(loop, owned, WRITES[name], failure)
                 for failure in FAILURES]
    finally:
        logging.disable(logging.NOTSET)
    assert any(ended), "no allocation that failed mattered"
    assert not all(ended)
    assert open_fds() == before
