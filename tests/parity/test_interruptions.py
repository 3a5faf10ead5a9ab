"""What interrupts the loop in the middle stalls nothing and loses nothing."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import ssl
import sys
import tempfile
import threading

import pytest

from . import rigs
from .endpoints import BufferedRecorder, Recorder, pattern, wired
from .framework import parity, promise

SIZE = 800_000


def pair(loop, factory):
    """A transport on one end of a Unix socket pair, and the other end."""
    near, far = socket.socketpair()
    transport, protocol = loop.run_until_complete(
        loop.create_connection(factory, sock=near)
    )
    return transport, protocol, far


async def closed(transport, protocol):
    transport.abort()
    while transport.get_protocol() is not None:
        await asyncio.sleep(0)


async def read_all(far, total_bytes):
    far.setblocking(False)
    received = 0
    while received < total_bytes:
        try:
            received += len(far.recv(65536))
        except BlockingIOError:
            await asyncio.sleep(0.001)
    return received


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@parity
def test_an_interrupted_resume_writing_leaves_nothing_unsent(loop, trace, error):
    class Interrupted(asyncio.Protocol):
        raised = False

        def resume_writing(self):
            if not self.raised:
                self.raised = True
                raise error

    transport, protocol, far = pair(loop, Interrupted)
    transport.set_write_buffer_limits(high=SIZE // 2, low=SIZE // 3)
    transport.write(pattern(SIZE))
    reading = loop.create_task(read_all(far, SIZE))
    with contextlib.suppress(error):
        loop.run_until_complete(reading)
        trace("not interrupted")
    trace("received", loop.run_until_complete(reading))
    loop.run_until_complete(closed(transport, protocol))
    far.close()


@promise
def test_an_interrupted_data_received_leaves_nothing_unread(loop, trace):
    class Interrupted(asyncio.Protocol):
        received = 0
        raised = False

        def data_received(self, data):
            self.received += len(data)
            if not self.raised and self.received > 20_000:
                self.raised = True
                raise KeyboardInterrupt

    transport, protocol, far = pair(loop, Interrupted)

    async def pause_and_resume():
        far.sendall(bytes(40_000))
        # In this iteration it is received, but a pause keeps it.
        transport.pause_reading()
        await asyncio.sleep(0)
        transport.resume_reading()
        while protocol.received < 40_000:
            await asyncio.sleep(0)

    reading = loop.create_task(pause_and_resume())
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_until_complete(reading)
        pytest.fail("not interrupted")
    loop.run_until_complete(reading)
    loop.run_until_complete(closed(transport, protocol))
    far.close()


def run_through(loop, coroutine):
    """Run it, again after each KeyboardInterrupt; how many there were."""
    task = loop.create_task(coroutine)
    interruptions = 0
    while True:
        try:
            loop.run_until_complete(task)
            return interruptions
        except KeyboardInterrupt:
            interruptions += 1


def interrupted(kind, method, call):
    """A recorder whose method raises KeyboardInterrupt in its call of that number."""
    calls = 0

    class Interrupted(kind):
        pass

    def interrupting(self, *args):
        nonlocal calls
        calls += 1
        if calls == call and method == "get_buffer":
            raise KeyboardInterrupt
        result = getattr(super(Interrupted, self), method)(*args)
        if calls == call:
            raise KeyboardInterrupt
        return result

    setattr(Interrupted, method, interrupting)
    return Interrupted


METHODS = [
    (Recorder, "data_received", 1),
    (Recorder, "eof_received", 1),
    (Recorder, "connection_lost", 1),
    (BufferedRecorder, "get_buffer", 3),
    (BufferedRecorder, "buffer_updated", 3),
    (BufferedRecorder, "eof_received", 1),
]


@pytest.mark.parametrize("kind", rigs.SOCKETS)
@pytest.mark.parametrize("recorder, method, call", METHODS)
@pytest.mark.parametrize("size", [40_000, SIZE])
@parity
def test_an_interrupted_method_of_a_reader_loses_nothing(
        loop, trace, kind, recorder, method, call, size):
    factory = interrupted(recorder, method, call)

    async def main():
        async with rigs.connected(loop, kind, trace, factory) as rig:
            await rig.far.sends(pattern(size))
            await rig.far.ends()
            await rig.over()

    trace("interruptions", run_through(loop, main()))


@pytest.mark.parametrize("kind", rigs.TLS)
@pytest.mark.parametrize("recorder, method, call", [
    each for each in METHODS if each[1] in ("get_buffer", "buffer_updated")])
@promise
def test_an_interrupted_reader_over_tls_needs_no_further_data(
        loop, trace, kind, recorder, method, call):
    """On asyncio the rest comes with the peer's next bytes."""
    factory = interrupted(recorder, method, call)

    async def main():
        async with rigs.connected(loop, kind, trace, factory) as rig:
            await rig.far.sends(pattern(40_000))
            await rig.reading.receives(40_000)

    assert run_through(loop, main()) == 1


@pytest.mark.parametrize("kind", rigs.TLS)
@promise
def test_an_end_behind_interrupted_data_over_tls_is_told(loop, trace, kind):
    factory = interrupted(Recorder, "data_received", 1)

    async def main():
        async with rigs.connected(loop, kind, trace, factory) as rig:
            await rig.far.sends(b"the last words")
            await rig.far.ends()
            await rig.over()
            assert rig.reading.has_happened("eof_received")

    assert run_through(loop, main()) == 1


@pytest.mark.parametrize("recorder, method, call", [
    each for each in METHODS if each[1] not in ("eof_received", "connection_lost")])
@promise
def test_interrupted_delivery_of_what_a_pause_kept_loses_nothing(
        loop, trace, recorder, method, call):
    protocol = interrupted(recorder, method, call)(trace.lane("near"))
    transport, peer = loop.run_until_complete(wired(loop, "tcp", protocol))

    async def pause_and_resume():
        peer.sendall(pattern(14_000))
        # In this iteration it is received, but a pause keeps it.
        transport.pause_reading()
        await asyncio.sleep(0)
        peer.sendall(pattern(14_000))
        transport.resume_reading()
        await protocol.receives(28_000)

    assert run_through(loop, pause_and_resume()) == 1
    loop.run_until_complete(closed(transport, protocol))
    peer.close()


@pytest.mark.parametrize("kind", rigs.SOCKETS)
@parity
def test_an_interrupted_pause_writing_loses_nothing(loop, trace, kind):
    factory = interrupted(Recorder, "pause_writing", 1)

    async def main():
        async with rigs.connected(loop, kind, trace, factory) as rig:
            loop.call_soon(rig.writer.write, pattern(SIZE * 5))
            loop.call_soon(rig.writer.close)
            # A reader that begins at once might take all as fast as it is sent.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            trace("received", await rig.far.reads_to_end())
            await rig.over()

    trace("interruptions", run_through(loop, main()))


@parity
async def test_an_answer_to_data_kept_in_a_pause_precedes_the_end(loop, trace):
    class Answering(asyncio.Protocol):
        received = 0

        def connection_made(self, transport):
            self.transport = transport
            self.paused = False

        def data_received(self, data):
            self.received += len(data)
            if not self.paused:
                self.paused = True
                self.transport.pause_reading()
                loop.call_later(0.02, self.transport.resume_reading)
            if self.received == 20_000:
                self.answer = loop.create_task(self.write_answer())

        async def write_answer(self):
            self.transport.write(b"answer")

    near, far = socket.socketpair()
    await loop.create_connection(Answering, sock=near)
    far.sendall(bytes(20_000))
    far.shutdown(socket.SHUT_WR)
    trace("got", await loop.run_in_executor(None, far.recv, 100))
    trace("then", await loop.run_in_executor(None, far.recv, 100))
    far.close()


@promise
async def test_a_cancelled_sendfile_ends_nothing_else(loop, trace):
    # The stock loop reports an InvalidStateError of its own here.
    loop.set_exception_handler(lambda loop, context: pytest.fail(str(context)))
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    with tempfile.TemporaryFile() as file:
        file.write(b"file")
        file.flush()
        transport.write(pattern(SIZE * 8))
        sending = loop.create_task(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        assert await read_all(peer, SIZE * 8) == SIZE * 8
    transport.abort()
    await protocol.happens("connection_lost")
    peer.close()


@promise
def test_a_clock_in_python_loses_no_wake_up(loop, trace):
    waiting = threading.Event()
    answered = []

    def clock():
        # Other threads run here, between the look at the queue and the sleep.
        if waiting.is_set():
            waiting.clear()
            loop.call_soon_threadsafe(answered.append, "called")
            loop.call_soon_threadsafe(loop.stop)
        return loop_time()

    loop_time = loop.time
    loop.time = clock
    loop.call_later(60, answered.append, "too late")
    loop.call_soon(waiting.set)
    loop.run_forever()
    assert answered == ["called"]


@promise
def test_an_operation_that_fails_does_not_end_the_loop(loop, trace):
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

    def broken(loop, coro, **kwargs):
        coro.close()
        raise ValueError("no task today")

    async def main():
        # A TLS listener makes a task for each connection, in the completion.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = await loop.create_server(
            asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        loop.set_task_factory(broken)
        with socket.create_connection(server.sockets[0].getsockname()) as peer:
            while not told:
                await asyncio.sleep(0)
            loop.set_task_factory(None)
            assert await loop.run_in_executor(None, peer.recv, 1) == b""
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    assert [str(error) for error in told] == ["no task today"]


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="asyncio of 3.11 makes a second transport")
@parity
async def test_two_transports_cannot_share_a_socket(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    sock = transport.get_extra_info("socket")._sock
    try:
        await loop.create_connection(asyncio.Protocol, sock=sock)
        trace("made")
    except RuntimeError:
        trace("refused")
    transport.abort()
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_dev_null_cannot_be_watched(loop, trace):
    with open(os.devnull) as file:
        try:
            loop.add_reader(file, print)
            trace("watched")
        except OSError as exc:
            trace("refused", type(exc).__name__, exc.errno)


@parity
def test_a_wakeup_fd_set_during_the_run_stays(loop, trace):
    near, far = socket.socketpair()
    near.setblocking(False)

    async def main():
        signal.set_wakeup_fd(near.fileno())

    with near, far:
        loop.run_until_complete(main())
        trace("still set", signal.set_wakeup_fd(-1) == near.fileno())


@promise
def test_nan_is_no_time(loop, trace):
    with pytest.raises(ValueError):
        loop.call_later(math.nan, print)
    with pytest.raises(ValueError):
        loop.call_at(math.nan, print)
    assert loop._scheduled == []
