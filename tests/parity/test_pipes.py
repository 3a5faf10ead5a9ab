"""Pipe transports: reading, writing, ends, and files that are no pipes."""

import asyncio
import os
import tempfile

import pytest

from .endpoints import (
    PEER_SECONDS, Recorder, in_thread, pattern, read_to_end, settle)
from .framework import parity

BIG = 1 << 20


async def reading_end(loop, lane):
    """A transport that reads, and the descriptor to write to."""
    reading, writing = os.pipe()
    protocol = Recorder(lane)
    transport, _ = await loop.connect_read_pipe(
        lambda: protocol, os.fdopen(reading, "rb", 0)
    )
    return transport, protocol, writing


async def writing_end(loop, lane):
    """A transport that writes, and the file to read from."""
    reading, writing = os.pipe()
    protocol = Recorder(lane)
    transport, _ = await loop.connect_write_pipe(
        lambda: protocol, os.fdopen(writing, "wb", 0)
    )
    return transport, protocol, os.fdopen(reading, "rb", 0)


def read_file_to_end(file):
    with file:
        return b"".join(iter(lambda: file.read(65536), b""))


@parity
async def test_reading_to_the_end(loop, trace):
    transport, protocol, writing = await reading_end(loop, trace.lane("pipe"))
    os.write(writing, b"one")
    await protocol.receives(3)
    os.write(writing, b"two")
    await protocol.receives(6)
    os.close(writing)
    await protocol.happens("connection_lost")
    trace("closing", transport.is_closing())


@parity
async def test_pausing_a_reader(loop, trace):
    transport, protocol, writing = await reading_end(loop, trace)
    transport.pause_reading()
    transport.pause_reading()
    os.write(writing, b"held")
    await settle(loop)
    trace("held back")
    transport.resume_reading()
    transport.resume_reading()
    await protocol.receives(4)
    transport.close()
    transport.close()
    await protocol.happens("connection_lost")
    os.close(writing)


@parity
async def test_writing_and_closing(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    data = pattern(BIG)
    transport.write(b"")
    transport.write(b"first ")
    transport.write(bytearray(b"second "))
    transport.write(memoryview(b"third "))
    trace.call("text", transport.write, "text")
    transport.write(data)
    trace("pending", transport.get_write_buffer_size() > 0, transport.can_write_eof())
    transport.close()
    received = await in_thread(loop, read_file_to_end, reader)
    trace("peer got", received == b"first second third " + data)
    await protocol.happens("connection_lost")


@parity
async def test_write_eof_of_a_pipe(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    transport.write(b"last")
    transport.write_eof()
    transport.write_eof()
    trace("peer got", await in_thread(loop, read_file_to_end, reader))
    await protocol.happens("connection_lost")
    trace.call("write after the end", transport.write, b"x")


@parity
async def test_abort_of_a_pipe(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    transport.write(pattern(BIG))
    transport.abort()
    trace("left", transport.get_write_buffer_size())
    await protocol.happens("connection_lost")
    for _ in range(7):
        trace.call("write", transport.write, b"x")
    reader.close()


@parity
async def test_a_reader_that_goes_away(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    reader.close()
    await protocol.happens("connection_lost")
    trace("closing", transport.is_closing())


@parity
async def test_a_reader_that_goes_away_with_data_pending(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    transport.write(pattern(BIG))
    await settle(loop)
    reader.close()
    await protocol.happens("connection_lost")


@parity
async def test_files_that_are_no_pipes(loop, trace):
    with tempfile.TemporaryFile() as file:
        for name in ("connect_read_pipe", "connect_write_pipe"):
            connect = getattr(loop, name)
            await trace.wait(name, connect(lambda: Recorder(trace.lane(name)), file))


@parity
async def test_what_a_pipe_says_of_itself(loop, trace):
    for make, name in ((reading_end, "reading"), (writing_end, "writing")):
        transport, protocol, other = await make(loop, trace.lane(name))
        trace("pipe", transport.get_extra_info("pipe") is not None)
        trace("others", transport.get_extra_info("socket"), transport.is_closing())
        trace("protocol", transport.get_protocol() is protocol)
        trace("repr", repr(transport).startswith("<"))
        transport.close()
        await protocol.happens("connection_lost")
        trace("repr", repr(transport).startswith("<"))
        if name == "reading":
            os.close(other)
        else:
            other.close()


@pytest.mark.parametrize("family", ["socket", "fifo"])
@parity
async def test_other_files_that_count_as_pipes(loop, trace, family):
    import socket

    protocol = Recorder(trace.lane("pipe"))
    if family == "socket":
        near, far = socket.socketpair()
        far.settimeout(PEER_SECONDS)
        transport, _ = await loop.connect_write_pipe(lambda: protocol, near)
        transport.write(b"through a socket")
        transport.close()
        trace("peer got", *await in_thread(loop, read_to_end, far))
        await protocol.happens("connection_lost")
        far.close()
        return
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(path, os.O_WRONLY)
        await loop.connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
        os.write(writing, b"through a fifo")
        await protocol.receives(14)
        os.close(writing)
        await protocol.happens("connection_lost")


@parity
async def test_streams_over_pipes(loop, trace):
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(
        lambda: protocol, os.fdopen(reading, "rb", 0)
    )
    os.write(writing, b"one\ntwo\n")
    os.close(writing)
    trace("lines", [line async for line in reader])
    transport.close()
