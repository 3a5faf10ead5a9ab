"""StreamReader and StreamWriter over our transports: reads, limits, drain, ends."""

import asyncio
import contextlib

import pytest

from .endpoints import FAMILIES, in_thread, pattern, read_to_end, wired
from .framework import parity

every_family = pytest.mark.parametrize("family", FAMILIES)


async def stream(loop, family, limit=2**16):
    """Reader and writer on one end, a blocking socket on the other."""
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, peer = await wired(loop, family, protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop), peer


async def close(writer, peer):
    writer.close()
    await writer.wait_closed()
    peer.close()


@every_family
@parity
async def test_every_way_of_reading(loop, trace, family):
    reader, writer, peer = await stream(loop, family)
    peer.sendall(b"a line\nanother\n12345and until;rest of it")
    peer.shutdown(1)
    await trace.wait("readline", reader.readline())
    await trace.wait("readline", reader.readline())
    await trace.wait("readexactly", reader.readexactly(5))
    await trace.wait("readuntil", reader.readuntil(b";"))
    await trace.wait("read nothing", reader.read(0))
    await trace.wait("read", reader.read(4))
    await trace.wait("read all", reader.read())
    await trace.wait("at the end", reader.read(1))
    await trace.wait("readline at the end", reader.readline())
    await trace.wait("readexactly at the end", reader.readexactly(1))
    await trace.wait("readuntil at the end", reader.readuntil())
    trace("at eof", reader.at_eof())
    await close(writer, peer)


@every_family
@parity
async def test_limit_overrun(loop, trace, family):
    reader, writer, peer = await stream(loop, family, limit=16)
    peer.sendall(b"0123456789" * 10 + b"\nshort\n")
    await trace.wait("readline", reader.readline())
    peer.shutdown(1)
    rest = await reader.read()
    trace("the rest ends with", rest[-6:])
    trace("reads on", writer.transport.is_reading())
    await close(writer, peer)


@every_family
@parity
async def test_readuntil_beyond_the_limit(loop, trace, family):
    reader, writer, peer = await stream(loop, family, limit=16)
    peer.sendall(b"0123456789" * 10)
    await trace.wait("readuntil", reader.readuntil(b";"))
    await trace.wait("readexactly", reader.readexactly(100))
    await close(writer, peer)


@every_family
@parity
async def test_a_slow_reader_of_much_data(loop, trace, family):
    reader, writer, peer = await stream(loop, family, limit=1000)
    data = pattern(1 << 20)
    sending = in_thread(loop, peer.sendall, data)
    received = bytearray()
    while len(received) < len(data):
        received += await reader.readexactly(4096)
    await sending
    trace("received", received)
    await close(writer, peer)


@every_family
@parity
async def test_drain_waits_for_the_peer(loop, trace, family):
    _, writer, peer = await stream(loop, family)
    data = pattern(4 << 20)
    writer.write(data)
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    trace("drained at once", draining.done())
    writer.close()
    received, error = await in_thread(loop, read_to_end, peer)
    await draining
    trace("received", received == data, error)
    await close(writer, peer)


@every_family
@parity
async def test_drain_with_nothing_to_wait_for(loop, trace, family):
    _, writer, peer = await stream(loop, family)
    writer.write(b"little")
    await trace.wait("drain", writer.drain())
    writer.writelines([b"one", b"two"])
    await trace.wait("drain", writer.drain())
    writer.close()
    await trace.wait("drain after close", writer.drain())
    trace("closing", writer.is_closing())
    trace("peer got", *await in_thread(loop, read_to_end, peer))
    await close(writer, peer)


@parity
async def test_drain_of_a_broken_connection(loop, trace):
    reader, writer, peer = await stream(loop, "tcp")
    writer.write(pattern(4 << 20))
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    writer.transport.abort()
    await trace.wait("drain", draining)
    await trace.wait("drain again", writer.drain())
    await trace.wait("read", reader.read())
    await trace.wait("wait_closed", writer.wait_closed())
    peer.close()


@every_family
@parity
async def test_half_close_of_a_stream(loop, trace, family):
    reader, writer, peer = await stream(loop, family)
    trace("can write eof", writer.can_write_eof())
    writer.write(b"question")
    writer.write_eof()
    trace("peer got", *await in_thread(loop, read_to_end, peer))
    peer.sendall(b"answer")
    peer.shutdown(1)
    await trace.wait("answer", reader.read())
    trace.call("write", writer.write, b"more")
    await close(writer, peer)


@contextlib.asynccontextmanager
async def streams_server(handler, **options):
    server = await asyncio.start_server(handler, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


@parity
async def test_a_server_of_streams(loop, trace):
    async def serve(reader, writer):
        lane = trace.lane("server")
        while line := await reader.readline():
            lane("line", line)
            writer.write(line.upper())
            await writer.drain()
        lane("end")
        writer.close()
        await lane.wait("closed", writer.wait_closed())
        finished.set_result(None)

    finished = loop.create_future()
    async with streams_server(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        for number in range(5):
            writer.write(b"line %d\n" % number)
            await trace.wait("answer", reader.readline())
        writer.write_eof()
        await trace.wait("the end", reader.read())
        writer.close()
        await trace.wait("closed", writer.wait_closed())
        await finished


@parity
async def test_a_handler_that_raises(loop, trace):
    async def serve(reader, writer):
        try:
            raise ValueError("in the handler")
        finally:
            writer.close()

    async with streams_server(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        await trace.wait("read", reader.read())
        writer.close()
        await writer.wait_closed()


@parity
async def test_a_plain_function_may_handle_connections(loop, trace):
    def serve(reader, writer):
        trace.lane("server")("called")
        writer.write(b"hello")
        writer.close()

    async with streams_server(serve) as address:
        reader, writer = await asyncio.open_connection(*address)
        await trace.wait("read", reader.read())
        writer.close()
        await writer.wait_closed()


@parity
async def test_many_readers_are_refused(loop, trace):
    reader, writer, peer = await stream(loop, "tcp")
    first = asyncio.ensure_future(reader.read(1))
    await asyncio.sleep(0)
    await trace.wait("second", reader.read(1))
    peer.send(b"x")
    await trace.wait("first", first)
    await close(writer, peer)


@parity
async def test_wrong_reads_are_refused(loop, trace):
    reader, writer, peer = await stream(loop, "tcp")
    await trace.wait("readexactly", reader.readexactly(-1))
    await trace.wait("readuntil", reader.readuntil(b""))
    trace.call_class("write", writer.write, "text")
    trace.call_class("limit", asyncio.StreamReader, limit=0, loop=loop)
    await close(writer, peer)


@parity
async def test_a_cancelled_read_loses_nothing(loop, trace):
    reader, writer, peer = await stream(loop, "tcp")
    reading = asyncio.ensure_future(reader.readexactly(10))
    await asyncio.sleep(0)
    peer.send(b"01234")
    reading.cancel()
    await asyncio.wait([reading])
    trace("cancelled", reading.cancelled())
    peer.send(b"56789")
    await trace.wait("readexactly", reader.readexactly(10))
    await close(writer, peer)


@parity
async def test_iteration_over_lines(loop, trace):
    reader, writer, peer = await stream(loop, "tcp")
    peer.sendall(b"one\ntwo\nthree")
    peer.shutdown(1)
    async for line in reader:
        trace("line", line)
    await close(writer, peer)


@parity
async def test_open_connection_to_nobody(loop, trace):
    await trace.wait("closed port", asyncio.open_connection("127.0.0.1", 1))
    await trace.wait("no path", asyncio.open_unix_connection("/tmp/parity-none/x"))


@every_family
@parity
async def test_a_dropped_writer(loop, trace, family):
    reader, writer, peer = await stream(loop, family)
    writer.write(b"last words")
    writer.close()
    await writer.wait_closed()
    del writer
    trace("peer got", *await in_thread(loop, read_to_end, peer))
    await trace.wait("read", reader.read())
    peer.close()
