"""Flow control while writing: limits, pause_writing, resume_writing, buffer sizes."""

import asyncio

import pytest

from .endpoints import (
    FAMILIES,
    Recorder,
    in_thread,
    pattern,
    read_exactly,
    read_to_end,
    settle,
    wired,
)
from .framework import parity, promise

BIG = 4 << 20
HUGE_LIMIT = 64 << 20

both_families = pytest.mark.parametrize("family", FAMILIES)


async def drain(loop, transport, protocol, peer):
    transport.close()
    received, error = await in_thread(loop, read_to_end, peer)
    await protocol.happens("connection_lost")
    peer.close()
    return len(received), error


@both_families
@parity
async def test_a_full_buffer_pauses_the_protocol_once(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    trace("at first", transport.get_write_buffer_size())
    protocol.lane("before write")
    transport.write(pattern(BIG))
    protocol.lane("after write", transport.get_write_buffer_size() > 0)
    transport.write(b"more")
    transport.write(b"and more")
    protocol.lane("after more")
    trace("drained", await drain(loop, transport, protocol, peer))


@both_families
@parity
async def test_a_drained_buffer_resumes_the_protocol(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    transport.write(pattern(BIG))
    reading = in_thread(loop, read_to_end, peer)
    await protocol.happens("resume_writing")
    low = transport.get_write_buffer_limits()[0]
    trace("below the mark", transport.get_write_buffer_size() <= low)
    transport.write(b"end")
    transport.close()
    received, error = await reading
    trace("peer got", len(received), error)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_pause_and_resume_alternate_over_many_writes(loop, trace):
    lane = trace.lane("client")
    protocol = Recorder(lane)
    transport, peer = await wired(loop, "tcp", protocol)
    for number in range(5):
        transport.write(pattern(BIG))
        # Nobody reads before: a reader beside the write could take all of it.
        await in_thread(loop, read_exactly, peer, BIG)
        while lane.events()[-1][0] != "resume_writing":
            await asyncio.sleep(0)
        lane("round", number)
    trace("drained", await drain(loop, transport, protocol, peer))


LIMITS = {
    "default": {},
    "high": {"high": 1000},
    "low": {"low": 1000},
    "both": {"high": 2000, "low": 100},
    "equal": {"high": 500, "low": 500},
    "zero": {"high": 0},
    "zero low": {"low": 0},
    "high none": {"high": None, "low": 10},
    "low above high": {"high": 10, "low": 20},
    "negative low": {"low": -1},
    "negative high": {"high": -1},
    "both negative": {"high": -5, "low": -6},
    "text": {"high": "x"},
    "text low": {"low": "x"},
    "float": {"high": 10.5},
    "wrong name": {"middle": 1},
}


@pytest.mark.parametrize("name", LIMITS)
@parity
async def test_limits_are_checked(loop, trace, name):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace("default", transport.get_write_buffer_limits())
    call = trace.call if name != "wrong name" else trace.call_class
    call("set", transport.set_write_buffer_limits, **LIMITS[name])
    trace("limits", transport.get_write_buffer_limits())
    trace("drained", await drain(loop, transport, protocol, peer))


@pytest.mark.parametrize("limits", [(0, 0), (1, 0), (1000, 10), (HUGE_LIMIT, 0),
                                    (HUGE_LIMIT, 1 << 20)])
@parity
async def test_limits_decide_when_to_pause(loop, trace, limits):
    high, low = limits
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=high, low=low)
    transport.write(pattern(BIG))
    protocol.lane("after write")
    reading = in_thread(loop, read_to_end, peer)
    transport.write(b"end")
    transport.close()
    received, error = await reading
    trace("peer got", len(received), error)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_lowering_the_limits_pauses_at_once(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=HUGE_LIMIT)
    transport.write(pattern(BIG))
    protocol.lane("wrote without a pause")
    transport.set_write_buffer_limits(high=1000)
    protocol.lane("lowered")
    transport.set_write_buffer_limits(high=HUGE_LIMIT)
    protocol.lane("raised")
    trace("drained", await drain(loop, transport, protocol, peer))


@parity
async def test_limits_may_change_with_an_empty_buffer(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=0)
    transport.write(b"goes out at once")
    await settle(loop)
    trace("size", transport.get_write_buffer_size())
    trace("drained", await drain(loop, transport, protocol, peer))


@parity
async def test_the_size_counts_every_pending_byte(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    before = transport.get_write_buffer_size()
    transport.write(b"x" * 1000)
    trace("one more", transport.get_write_buffer_size() - before)
    transport.write(b"")
    trace("nothing", transport.get_write_buffer_size() - before)
    trace("drained", await drain(loop, transport, protocol, peer))


class BrokenFlow(Recorder):
    """Raises where the transport asks it to wait, or to go on."""

    def __init__(self, lane, broken):
        super().__init__(lane)
        self.broken = broken

    def pause_writing(self):
        super().pause_writing()
        if self.broken == "pause_writing":
            raise ValueError("pause")

    def resume_writing(self):
        super().resume_writing()
        if self.broken == "resume_writing":
            raise ValueError("resume")


@pytest.mark.parametrize("broken", ["pause_writing", "resume_writing"])
@parity
async def test_a_broken_protocol_does_not_stop_the_flow(loop, trace, broken):
    protocol = BrokenFlow(trace.lane("client"), broken)
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    trace("drained", await drain(loop, transport, protocol, peer))


class Writer(Recorder):
    """Writes until it is paused, again from inside resume_writing."""

    rounds = 5
    written_bytes = 0
    paused = False

    def fill(self):
        while not self.paused:
            self.transport.write(pattern(BIG))
            self.written_bytes += BIG

    def pause_writing(self):
        super().pause_writing()
        self.paused = True

    def resume_writing(self):
        super().resume_writing()
        self.paused = False
        self.rounds -= 1
        if self.rounds:
            self.fill()
        else:
            asyncio.get_running_loop().call_soon(self.transport.close)


@parity
async def test_writing_from_resume_writing(loop, trace):
    protocol = Writer(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    protocol.fill()
    received, error = await in_thread(loop, read_to_end, peer)
    trace("peer got all", len(received) == protocol.written_bytes, error)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_close_from_pause_writing(loop, trace):
    class Closer(Recorder):
        def pause_writing(self):
            super().pause_writing()
            self.transport.close()

    protocol = Closer(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    trace("drained", await drain(loop, transport, protocol, peer))


@parity
async def test_abort_from_pause_writing(loop, trace):
    class Aborter(Recorder):
        def pause_writing(self):
            super().pause_writing()
            self.transport.abort()

    protocol = Aborter(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    protocol.lane("returned", transport.get_write_buffer_size())
    await protocol.happens("connection_lost")
    peer.close()


@promise
async def test_close_from_resume_writing_ends_once(loop, trace):
    """asyncio ends such a transport twice, the second time with an error."""

    class Closer(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.close()

    protocol = Closer(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    transport.set_write_buffer_limits(high=0)  # resumed when it is empty
    transport.write(pattern(BIG))
    received, error = await in_thread(loop, read_to_end, peer)
    await protocol.happens("connection_lost")
    await settle(loop)
    names = [event[0] for event in trace.events()]
    assert (len(received), error) == (BIG, None)
    assert names[1:] == ["pause_writing", "resume_writing", "connection_lost"]
    assert trace.lane("exception handler").events() == []
    peer.close()


@promise
async def test_a_reader_that_never_reads_does_not_cost_memory(loop, trace):
    """A protocol that heeds pause_writing keeps the buffer near its limit."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    high = transport.get_write_buffer_limits()[1]
    while not any(event[0] == "pause_writing" for event in protocol.lane.events()):
        transport.write(b"x" * 1000)
    assert high < transport.get_write_buffer_size() <= high + 1000
    transport.abort()
    await protocol.happens("connection_lost")
    peer.close()
