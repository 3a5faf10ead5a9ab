"""sendfile and sock_sendfile: whole files, parts, fallbacks, and refusals."""

import asyncio
import contextlib
import io
import tempfile

import pytest

from . import certificates
from .endpoints import Recorder, connecting, in_thread, pattern, read_to_end, serving
from .endpoints import connected_sockets, settle, wired
from .framework import parity

SIZE = 1 << 20


@contextlib.contextmanager
def file_of(data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file


PARTS = {
    "whole": {},
    "offset": {"offset": 1000},
    "count": {"count": 5000},
    "both": {"offset": 777, "count": 3333},
    "beyond the end": {"offset": SIZE - 10, "count": 100},
    "past the end": {"offset": SIZE + 10},
    "nothing": {"count": 1, "offset": SIZE},
}


@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("name", PARTS)
@parity
async def test_parts_of_a_file(loop, trace, name, fallback):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    with file_of(pattern(SIZE)) as file, peer:
        reading = in_thread(loop, read_to_end, peer)
        sending = loop.sendfile(transport, file, fallback=fallback, **PARTS[name])
        await trace.wait("sent", sending)
        trace("position", file.tell())
        transport.close()
        trace("peer got", *await reading)
        await protocol.happens("connection_lost")


@parity
async def test_a_file_between_writes(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=8 << 20)
    with file_of(pattern(SIZE)) as file, peer:
        transport.write(pattern(4 << 20, 2))
        reading = in_thread(loop, read_to_end, peer)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        trace.call("write meanwhile", transport.write, b"x")
        trace.call_class("writelines meanwhile", transport.writelines, [b"x"])
        await trace.wait("sent", sending)
        transport.write(b"after")
        transport.close()
        trace("peer got", *await reading)
        await protocol.happens("connection_lost")


@parity
async def test_a_file_that_is_only_memory(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=8 << 20)
    with peer:
        reading = in_thread(loop, read_to_end, peer)
        file = io.BytesIO(pattern(300_000))
        refused = loop.sendfile(transport, file, fallback=False)
        await trace.wait("without fallback", refused)
        await trace.wait("with fallback", loop.sendfile(transport, file))
        transport.close()
        trace("peer got", *await reading)
        await protocol.happens("connection_lost")


@parity
async def test_refusals(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    with file_of(b"data") as file, peer, tempfile.TemporaryFile("w+") as text:
        await trace.wait("offset", loop.sendfile(transport, file, offset=-1))
        await trace.wait("count", loop.sendfile(transport, file, count=0))
        await trace.wait("count", loop.sendfile(transport, file, count=-1))
        await trace.wait("float", loop.sendfile(transport, file, count=1.5))
        await trace.wait("text file", loop.sendfile(transport, text, fallback=False))
        await trace.wait("no transport", loop.sendfile(object(), file))
        transport.close()
        await trace.wait("closing", loop.sendfile(transport, file))
        await protocol.happens("connection_lost")


@parity
async def test_a_peer_that_goes_away(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    with file_of(pattern(8 << 20)) as file:
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await settle(loop)
        peer.close()
        try:
            await sending
        except ConnectionError:
            trace("a connection error")
        transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", ["whole", "both"])
@parity
async def test_sock_sendfile(loop, trace, name):
    near, peer = connected_sockets("tcp")
    near.setblocking(False)
    with near, peer, file_of(pattern(SIZE)) as file:
        reading = in_thread(loop, read_to_end, peer)
        await trace.wait("sent", loop.sock_sendfile(near, file, **PARTS[name]))
        trace("position", file.tell())
        near.close()
        trace("peer got", *await reading)


@parity
async def test_sock_sendfile_refuses(loop, trace):
    near, peer = connected_sockets("tcp")
    near.setblocking(False)
    with near, peer, file_of(b"data") as file:
        memory = io.BytesIO(b"in memory")
        await trace.wait("memory", loop.sock_sendfile(near, memory, fallback=False))
        await trace.wait("memory", loop.sock_sendfile(near, memory))
        trace("peer got", peer.recv(100))
        await trace.wait("count", loop.sock_sendfile(near, file, count=0))
        await trace.wait("offset", loop.sock_sendfile(near, file, offset=-1))
        loop.set_debug(True)
        near.setblocking(True)
        await trace.wait("blocking", loop.sock_sendfile(near, file))


@parity
async def test_a_file_over_tls(loop, trace):
    context = certificates.server_context()
    server = Recorder(trace.lane("server"))
    client = Recorder(trace.lane("client"))
    async with serving(loop, "tcp", lambda: server, ssl=context) as address:
        transport, _ = await connecting(
            loop, "tcp", lambda: client, address, ssl=certificates.client_context(),
            server_hostname=certificates.NAME,
        )
        with file_of(pattern(300_000)) as file:
            refused = loop.sendfile(transport, file, fallback=False)
            await trace.wait("without fallback", refused)
            await trace.wait("with fallback", loop.sendfile(transport, file))
        transport.close()
        await server.receives(300_000)
        await client.happens("connection_lost")
        await server.happens("connection_lost")
