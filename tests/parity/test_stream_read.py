"""Reading: pausing and resuming, closing in the middle, and buffers of every shape."""

import array
import asyncio

import pytest

from .endpoints import (
    FAMILIES,
    KINDS,
    BufferedRecorder,
    Recorder,
    in_thread,
    pattern,
    read_to_end,
    settle,
    wired,
)
from .framework import parity, promise

FLOOD = 1 << 20

every_family = pytest.mark.parametrize("family", FAMILIES)
both_kinds = pytest.mark.parametrize("kind", KINDS)


async def close(transport, protocol, peer):
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


# Not compared with the stock loop: early releases of 3.11 deliver all the same.
@every_family
@both_kinds
@promise
async def test_pause_in_connection_made_is_honoured(loop, trace, family, kind):
    class Paused(kind):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    protocol = Paused(trace)
    transport, peer = await wired(loop, family, protocol)
    peer.send(b"early")
    await settle(loop)
    assert not transport.is_reading()
    assert protocol.received_bytes == 0
    transport.resume_reading()
    assert transport.is_reading()
    await protocol.receives(5)
    await close(transport, protocol, peer)


@every_family
@both_kinds
@parity
async def test_nothing_arrives_while_paused(loop, trace, family, kind):
    protocol = kind(trace)
    transport, peer = await wired(loop, family, protocol)
    peer.send(b"first")
    await protocol.receives(5)
    for number in range(3):
        transport.pause_reading()
        peer.send(b"round %d" % number)
        await settle(loop)
        trace("paused", number, protocol.received_bytes)
        transport.resume_reading()
        await protocol.receives(5 + 7 * (number + 1))
        trace("resumed", number)
    await close(transport, protocol, peer)


@both_kinds
@parity
async def test_a_flood_while_paused_stays_in_order(loop, trace, kind):
    protocol = kind(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    data = pattern(FLOOD)
    sending = in_thread(loop, peer.sendall, data)
    await protocol.receives(1000)
    transport.pause_reading()
    before = protocol.received_bytes
    await settle(loop)
    assert protocol.received_bytes == before
    transport.resume_reading()
    await sending
    await protocol.receives(FLOOD)
    await close(transport, protocol, peer)


@both_kinds
@parity
async def test_pausing_again_and_again_in_a_flood(loop, trace, kind):
    class Stutterer(kind):
        pieces = 0

        def _note_data(self, chunk):
            super()._note_data(chunk)
            assert self.transport.is_reading()
            self.transport.pause_reading()
            self.pieces += 1
            schedule = loop.call_soon if self.pieces % 2 else self.later
            schedule(self.transport.resume_reading)

        @staticmethod
        def later(function):
            loop.call_later(0.0001, function)

    protocol = Stutterer(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    sending = in_thread(loop, peer.sendall, pattern(FLOOD // 4))
    await sending
    await protocol.receives(FLOOD // 4)
    await settle(loop)
    await close(transport, protocol, peer)


@promise
async def test_what_a_long_piece_schedules_runs_before_the_next_piece(loop, trace):
    """As on asyncio; pieces that each fit a buffer of the pool may follow at once."""
    due, early = [], []

    class Scheduler(Recorder):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            if len(chunk) >= 1 << 16:
                early.extend(due)
                due.append(len(chunk))
                loop.call_soon(due.clear)

    protocol = Scheduler(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    await in_thread(loop, peer.sendall, pattern(4 * FLOOD))
    await protocol.receives(4 * FLOOD)
    assert early == []
    await close(transport, protocol, peer)


@parity
async def test_pause_and_resume_may_be_repeated(loop, trace):
    protocol = Recorder(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    trace("reading", transport.is_reading())
    for name in ("resume_reading", "resume_reading", "pause_reading", "pause_reading",
                 "resume_reading", "resume_reading"):
        trace.call(name, getattr(transport, name))
        trace("reading", transport.is_reading())
    peer.send(b"still works")
    await protocol.receives(11)
    await close(transport, protocol, peer)


@parity
async def test_pause_and_resume_within_one_callback(loop, trace):
    protocol = Recorder(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    for _ in range(10):
        transport.pause_reading()
        transport.resume_reading()
    peer.send(b"once")
    await protocol.receives(4)
    await settle(loop)
    transport.pause_reading()
    transport.resume_reading()
    transport.pause_reading()
    peer.send(b"held")
    await settle(loop)
    trace("held back")
    await close(transport, protocol, peer)


@every_family
@both_kinds
@parity
async def test_pausing_inside_the_callback(loop, trace, family, kind):
    class Pauser(kind):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            self.transport.pause_reading()

    protocol = Pauser(trace)
    transport, peer = await wired(loop, family, protocol)
    peer.send(b"first")
    await protocol.receives(5)
    peer.send(b"second")
    await settle(loop)
    trace("paused itself", protocol.received_bytes)
    transport.resume_reading()
    await protocol.receives(11)
    await close(transport, protocol, peer)


@every_family
@both_kinds
@pytest.mark.parametrize("action", ["close", "abort"])
@parity
async def test_ending_inside_the_callback(loop, trace, family, kind, action):
    class Ender(kind):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            getattr(self.transport, action)()
            self.lane("callback returns", self.transport.is_closing())

    protocol = Ender(trace)
    transport, peer = await wired(loop, family, protocol)
    with peer:
        peer.send(b"x")
        await protocol.happens("connection_lost")
        trace("peer got", *await in_thread(loop, read_to_end, peer))


@every_family
@both_kinds
@pytest.mark.parametrize("action", ["close", "abort"])
@parity
async def test_ending_inside_connection_made(loop, trace, family, kind, action):
    class Ender(kind):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"goodbye")
            getattr(transport, action)()

    protocol = Ender(trace)
    transport, peer = await wired(loop, family, protocol)
    with peer:
        await protocol.happens("connection_lost")
        received, error = await in_thread(loop, read_to_end, peer)
        trace("peer got", received, error)
        trace("closing", transport.is_closing())


@parity
async def test_paused_data_is_lost_by_close_but_not_by_eof(loop, trace):
    protocol = Recorder(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    transport.pause_reading()
    peer.send(b"held")
    peer.shutdown(1)
    await settle(loop)
    trace("held back")
    transport.resume_reading()
    await protocol.happens("eof_received")
    await protocol.happens("connection_lost")
    peer.close()


class Shaped(BufferedRecorder):
    """A BufferedProtocol whose get_buffer answers with what it was given."""

    def __init__(self, lane, answer):
        super().__init__(lane)
        self.answer = answer

    def get_buffer(self, sizehint):
        self.lane("sizehint", sizehint)
        if isinstance(self.answer, BaseException):
            raise self.answer
        self.buffer = self.answer
        return self.answer

    def buffer_updated(self, nbytes):
        self._note_data(memoryview(self.buffer).cast("B")[:nbytes])


WRONG_BUFFERS = {
    "empty": bytearray(),
    "empty view": memoryview(bytearray(4))[4:],
    "none": None,
    "number": 7,
    "text": "text",
    "list": [1, 2],
    "read-only": b"0123456789",
    "read-only view": memoryview(b"0123456789"),
    "error": ValueError("no buffer"),
}


@pytest.mark.parametrize("name", WRONG_BUFFERS)
@parity
async def test_wrong_buffers_end_the_connection(loop, trace, name):
    protocol = Shaped(trace, WRONG_BUFFERS[name])
    _, peer = await wired(loop, "tcp", protocol)
    with peer:
        peer.send(b"x")
        await protocol.happens("connection_lost")


GOOD_BUFFERS = {
    "one byte": lambda: bytearray(1),
    "three bytes": lambda: bytearray(3),
    "view": lambda: memoryview(bytearray(100))[10:20],
    "array": lambda: array.array("B", bytes(7)),
    "wide array": lambda: array.array("I", [0] * 5),
    "cast view": lambda: memoryview(bytearray(64)).cast("I"),
    "big": lambda: bytearray(FLOOD),
}


@pytest.mark.parametrize("name", GOOD_BUFFERS)
@parity
async def test_any_writable_buffer_will_do(loop, trace, name):
    class Silent(Shaped):
        """How often it is asked depends on timing here: only the data counts."""

        def get_buffer(self, sizehint):
            self.buffer = self.answer
            return self.answer

    protocol = Silent(trace, GOOD_BUFFERS[name]())
    transport, peer = await wired(loop, "tcp", protocol)
    peer.sendall(pattern(500))
    await protocol.receives(500)
    await close(transport, protocol, peer)


@parity
async def test_each_round_asks_for_a_buffer_once(loop, trace):
    protocol = Shaped(trace, bytearray(100))
    transport, peer = await wired(loop, "tcp", protocol)
    trace("connected")
    for number in range(3):
        peer.send(b"x" * (number + 1))
        await protocol.receives((number + 1) * (number + 2) // 2)
    await close(transport, protocol, peer)


@parity
async def test_a_full_buffer_is_followed_by_another_round(loop, trace):
    protocol = Shaped(trace, bytearray(4))
    transport, peer = await wired(loop, "unix", protocol)
    transport.pause_reading()
    peer.send(b"0123456789")
    transport.resume_reading()
    await protocol.receives(10)
    await close(transport, protocol, peer)


@both_kinds
@parity
async def test_pausing_in_the_middle_of_small_rounds(loop, trace, kind):
    """What is received already, but not yet delivered, waits as well."""

    class Pauser(kind):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            self.transport.pause_reading()

    options = {"buffer_bytes": 4} if kind is BufferedRecorder else {}
    protocol = Pauser(trace, **options)
    transport, peer = await wired(loop, "unix", protocol)
    peer.send(b"0123456789")
    await protocol.receives(1)
    while protocol.received_bytes < 10:
        await settle(loop)
        trace("so far", protocol.received_bytes)
        transport.resume_reading()
        await asyncio.sleep(0)
        await settle(loop)
    await close(transport, protocol, peer)


@parity
async def test_closing_in_the_middle_of_small_rounds(loop, trace):
    class Closer(BufferedRecorder):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            self.transport.close()

    protocol = Closer(trace, buffer_bytes=4)
    _, peer = await wired(loop, "unix", protocol)
    peer.send(b"0123456789")
    await protocol.happens("connection_lost")
    await settle(loop)
    peer.close()
