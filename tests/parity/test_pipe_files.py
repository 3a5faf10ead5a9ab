"""Pipe transports over everything that counts as a pipe: FIFOs, terminals, devices."""

import asyncio
import fcntl
import os
import socket
import tempfile
import termios
import tty

import pytest

from .endpoints import Recorder, in_thread, pattern, settle
from .framework import parity
from .test_pipes import BIG, read_file_to_end, reading_end, writing_end


def pipe_files():
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)


@parity
async def test_the_files_become_non_blocking_and_stay_so(loop, trace):
    for connect, mine in ((loop.connect_read_pipe, 0), (loop.connect_write_pipe, 1)):
        files = pipe_files()
        # The description is shared: what another process would see of it.
        copy = os.dup(files[mine].fileno())
        protocol = Recorder(trace.lane("pipe"))
        trace("before", [os.get_blocking(file.fileno()) for file in files])
        transport, _ = await connect(lambda: protocol, files[mine])
        trace("during", [os.get_blocking(file.fileno()) for file in files])
        transport.close()
        await protocol.happens("connection_lost")
        trace("after", files[mine].closed, os.get_blocking(copy))
        os.close(copy)
        files[1 - mine].close()


def raw_terminal():
    main, other = os.openpty()
    tty.setraw(other, termios.TCSANOW)
    return main, other


@parity
async def test_a_terminal_is_read_and_written(loop, trace):
    main, other = raw_terminal()
    reader, writer = Recorder(trace.lane("reader")), Recorder(trace.lane("writer"))
    reading, _ = await loop.connect_read_pipe(
        lambda: reader, os.fdopen(os.dup(other), "rb", 0))
    writing, _ = await loop.connect_write_pipe(
        lambda: writer, os.fdopen(os.dup(other), "wb", 0))
    os.write(main, b"typed")
    await reader.receives(5)
    writing.write(b"shown")
    trace("terminal shows", await in_thread(loop, os.read, main, 100))
    writing.close()
    reading.close()
    await reader.happens("connection_lost")
    await writer.happens("connection_lost")
    os.close(main)
    os.close(other)


@parity
async def test_a_terminal_that_hangs_up(loop, trace):
    main, other = raw_terminal()
    protocol = Recorder(trace.lane("reader"))
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(main, "rb", 0))
    os.write(other, b"last words")
    await protocol.receives(10)
    os.close(other)
    await protocol.happens("connection_lost")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/full"])
@parity
async def test_writing_to_a_device(loop, trace, path):
    protocol = Recorder(trace.lane("device"))
    transport, _ = await loop.connect_write_pipe(
        lambda: protocol, open(path, "wb", 0))
    transport.write(b"away")
    trace("size", transport.get_write_buffer_size(), transport.is_closing())
    transport.close()
    await protocol.happens("connection_lost")


@parity
async def test_reading_from_a_device_that_cannot_be_watched(loop, trace):
    protocol = Recorder(trace.lane("device"))
    transport, _ = await loop.connect_read_pipe(
        lambda: protocol, open("/dev/null", "rb", 0))
    await settle(loop)
    transport.close()
    await protocol.happens("connection_lost")


@parity
async def test_both_ends_of_a_socket(loop, trace):
    near, far = socket.socketpair()
    reader, writer = Recorder(trace.lane("reader")), Recorder(trace.lane("writer"))
    await loop.connect_read_pipe(lambda: reader, near)
    transport, _ = await loop.connect_write_pipe(lambda: writer, far)
    data = pattern(BIG)
    transport.write(data)
    transport.write_eof()
    await reader.happens("connection_lost")
    await writer.happens("connection_lost")


@parity
async def test_a_socket_that_answers_a_writer_closes_it(loop, trace):
    """A write transport takes anything readable for the end of its reader."""
    near, far = socket.socketpair()
    protocol = Recorder(trace.lane("writer"))
    await loop.connect_write_pipe(lambda: protocol, near)
    far.send(b"an answer")
    await protocol.happens("connection_lost")
    far.close()


@parity
async def test_a_fifo_whose_writers_come_and_go(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        protocol = Recorder(trace.lane("fifo"))
        with open(path, "wb", 0) as first, open(path, "wb", 0) as second:
            await loop.connect_read_pipe(
                lambda: protocol, os.fdopen(reading, "rb", 0))
            first.write(b"from the first")
            await protocol.receives(14)
            first.close()
            await settle(loop)
            second.write(b"from the second")
            await protocol.receives(29)
        await protocol.happens("connection_lost")


@parity
async def test_flow_control_of_a_full_pipe(loop, trace):
    transport, protocol, reader = await writing_end(loop, trace.lane("pipe"))
    room = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
    transport.set_write_buffer_limits(high=room, low=0)
    data = pattern(BIG)
    transport.write(data)
    trace("limits", transport.get_write_buffer_size() == BIG - room)
    got = await in_thread(loop, reader.read, BIG)
    await protocol.happens("pause_writing")
    transport.write_eof()
    got += await in_thread(loop, read_file_to_end, reader)
    trace("peer got", got == data)
    await protocol.happens("connection_lost")


@parity
async def test_a_reader_that_is_paused_at_the_end(loop, trace):
    transport, protocol, writing = await reading_end(loop, trace.lane("pipe"))
    transport.pause_reading()
    os.write(writing, b"before the end")
    os.close(writing)
    await settle(loop)
    trace.call("reading", transport.is_reading)
    trace("closing", transport.is_closing())
    transport.resume_reading()
    await protocol.happens("connection_lost")


@parity
async def test_a_protocol_that_raises(loop, trace):
    class Broken(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise ValueError("broken")

    reader, writer = pipe_files()
    protocol = Broken(trace.lane("pipe"))
    await loop.connect_read_pipe(lambda: protocol, reader)
    writer.write(b"some")
    await protocol.receives(4)
    writer.close()
    await protocol.happens("connection_lost")


@parity
async def test_a_pipe_closed_by_somebody_else(loop, trace):
    reader, writer = pipe_files()
    protocol = Recorder(trace.lane("pipe"))
    transport, _ = await loop.connect_read_pipe(lambda: protocol, reader)
    other = os.open("/dev/null", os.O_RDONLY)
    os.dup2(other, reader.fileno())
    os.close(other)
    trace.call("writing", writer.write, b"nobody reads")
    await settle(loop)
    transport.close()
    await protocol.happens("connection_lost")
    writer.close()


@parity
async def test_connections_that_are_cancelled(loop, trace):
    reader, writer = pipe_files()
    protocol = Recorder(trace.lane("pipe"))
    task = loop.create_task(loop.connect_read_pipe(lambda: protocol, reader))
    await asyncio.sleep(0)
    task.cancel()
    await trace.wait("cancelled", asyncio.wait({task}))
    await protocol.happens("connection_lost")
    trace("closed", reader.closed)
    writer.close()
