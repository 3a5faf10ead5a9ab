"""Errors of a stream have asyncio's class, and writelines() takes what write() takes.

On a ring the receive may take the socket's error before a write of the same iteration
meets it; the protocol must not notice.
"""

import array
import asyncio

import pytest

from .endpoints import FAMILIES, Recorder, pattern, reset, settle, wired
from .framework import parity, promise

BIG = 8 << 20
tcp_families = pytest.mark.parametrize("family", ["tcp", "own"])


class Answering(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(b"an answer")


class AnsweringInPieces(Recorder):
    def data_received(self, data):
        super().data_received(data)
        for _ in range(3):
            self.transport.write(b"piece")


class AnsweringLater(Recorder):
    def data_received(self, data):
        super().data_received(data)
        asyncio.get_running_loop().call_soon(self.transport.write, b"an answer")


@pytest.mark.parametrize(
    "kind", [Recorder, Answering, AnsweringInPieces, AnsweringLater])
@pytest.mark.parametrize("backlog", [0, BIG])
@tcp_families
@parity
async def test_a_request_and_a_reset(loop, trace, family, kind, backlog):
    protocol = kind(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    transport.set_write_buffer_limits(high=2 * BIG)
    transport.write(pattern(backlog))
    await settle(loop)
    peer.sendall(b"a request")
    reset(peer)
    await protocol.happens("connection_lost")
    trace("after", transport.write(b"more"))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("method", ["write", "writelines"])
@tcp_families
@parity
async def test_a_write_that_meets_the_reset(loop, trace, family, method, paused):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    if paused:
        transport.pause_reading()
        await settle(loop)
    reset(peer)
    if paused:
        await settle(loop)
    for _ in range(2):
        getattr(transport, method)(b"x" if method == "write" else [b"x", b"y"])
    await protocol.happens("connection_lost")


BUFFERS = {
    "bytearray": lambda: bytearray(b"abcdef"),
    "memoryview": lambda: memoryview(b"abcdef")[1:],
    "every second byte": lambda: memoryview(b"abcdef")[::2],
    "array": lambda: array.array("b", [1, 2, 3]),
    "text": lambda: "abcdef",
    "integer": lambda: 6,
    "none": lambda: None,
}


@pytest.mark.parametrize("name", BUFFERS)
@pytest.mark.parametrize("family", FAMILIES)
@parity
async def test_what_writelines_takes(loop, trace, family, name):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    # First: asyncio of 3.15 would never send what stands before a wrong line.
    trace.call("writelines", transport.writelines, [BUFFERS[name](), b" behind"])
    trace.call("nothing", transport.writelines, [])
    transport.close()
    await protocol.happens("connection_lost")
    data = b""
    while part := peer.recv(100):
        data += part
    trace("peer", data)
    peer.close()


@pytest.mark.parametrize("line, data", [
    (memoryview(array.array("h", [1, 2])), array.array("h", [1, 2]).tobytes()),
    (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef")])
@promise
async def test_writelines_counts_bytes_and_not_items(loop, trace, line, data):
    """asyncio counts items from 3.12 on, and ends the connection by an IndexError."""
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.writelines([b"before ", line])
    transport.close()
    await protocol.happens("connection_lost")
    assert peer.recv(100) == b"before " + data
    peer.close()


@pytest.mark.parametrize("name", ["every second byte", "text"])
@promise
async def test_a_wrong_line_behind_a_backlog_sends_nothing_of_its_call(
        loop, trace, name):
    loop.set_exception_handler(lambda loop, context: None)
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    before = transport.get_write_buffer_size()
    try:
        transport.writelines([b"before ", BUFFERS[name]()])
    except TypeError:
        assert transport.get_write_buffer_size() == before
    else:
        assert transport.is_closing()
    transport.abort()
    await protocol.happens("connection_lost")
    peer.close()


@pytest.mark.parametrize("method", ["write_eof", "abort"])
@parity
async def test_writelines_after_the_end(loop, trace, method):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, "tcp", protocol)
    getattr(transport, method)()
    if method == "write_eof":
        trace.call("lines", transport.writelines, [b"one", b"two"])
        transport.abort()
    await protocol.happens("connection_lost")
    peer.close()
