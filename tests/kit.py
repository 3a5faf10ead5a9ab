"""What every stream transport promises: one list of bodies, run on each kind.

A body gets a rig (tests/parity/rigs.py) and a trace. Names of bodies are the promises;
`stream()` says on which kinds it is made, and which protocol the near end has.
"""

import asyncio
import inspect
from asyncio import selector_events
from types import SimpleNamespace

from .parity.endpoints import BufferedRecorder, Recorder, pattern, settle
from .parity.rigs import KINDS, SOCKETS, TWO_WAY

# More than all buffers of the kernel and of TLS together.
MUCH = 2 << 20

STREAMS = {}


def stream(*kinds, near=Recorder):
    """Note a promise that these kinds of transport make; without any, all do."""

    def note(body):
        STREAMS[body.__name__] = SimpleNamespace(
            body=body, kinds=kinds or KINDS, near=near)
        return body

    return note


class Lax(Recorder):
    """Which error a broken connection is noticed by, read or write, is timing."""

    def connection_lost(self, exc):
        broken = isinstance(exc, ConnectionError)
        super().connection_lost("a connection error" if broken else exc)


async def finish(rig):
    """A clean end from the near side."""
    for protocol in rig.ends:
        protocol.transport.close()
    await rig.over()


def fill(rig):
    """Write until the protocol is told to pause; over TLS the second write does it."""
    rig.far.stalls()
    for seed in (1, 2):
        rig.writer.write(pattern(MUCH, seed))
    return 2 * MUCH


# ---- reading ----------------------------------------------------------------------


@stream()
async def data_then_the_end_of_the_stream(rig, trace):
    await rig.far.sends(b"first ")
    await rig.reading.receives(6)
    await rig.far.sends(b"last")
    await rig.far.ends()
    await rig.reading.happens("connection_lost")
    trace("closing", rig.reader.is_closing())


class StaysOpen(Recorder):
    """Keeps its half of the connection after the other has ended."""

    def __init__(self, lane):
        super().__init__(lane, eof_result=True)


@stream(*TWO_WAY, near=StaysOpen)
async def eof_received_may_keep_the_connection(rig, trace):
    await rig.far.sends(b"question")
    await rig.far.ends()
    await rig.reading.happens("eof_received")
    trace("closing", rig.writer.is_closing())
    rig.writer.write(b"answer")
    rig.writer.close()
    trace("far got", await rig.far.reads_to_end())
    await rig.over()


@stream()
async def much_arrives_whole(rig, trace):
    sending = asyncio.ensure_future(rig.far.sends(pattern(MUCH)))
    await rig.reading.receives(MUCH)
    await sending
    await finish(rig)


@stream(*TWO_WAY, near=BufferedRecorder)
async def a_buffered_protocol_gets_the_same(rig, trace):
    sending = asyncio.ensure_future(rig.far.sends(pattern(MUCH)))
    await rig.reading.receives(MUCH)
    await sending
    rig.writer.write(b"thanks")
    trace("far got", await rig.far.reads(6))
    await rig.far.ends()
    await rig.over()


@stream()
async def nothing_is_delivered_while_paused(rig, trace):
    trace.call("reading", rig.reader.is_reading)
    rig.reader.pause_reading()
    trace.call("reading", rig.reader.is_reading)
    await rig.far.sends(b"held")
    await settle(rig.loop)
    rig.reading.lane("resume")
    rig.reader.resume_reading()
    trace.call("reading", rig.reader.is_reading)
    await rig.reading.receives(4)
    await finish(rig)
    trace.call("reading", rig.reader.is_reading)


@stream()
async def pausing_twice_is_pausing_once(rig, trace):
    for name in ("pause_reading", "pause_reading", "resume_reading", "resume_reading"):
        trace.call(name, getattr(rig.reader, name))
    await rig.far.sends(b"flows")
    await rig.reading.receives(5)
    await finish(rig)
    trace.call("pause after the end", rig.reader.pause_reading)


class PausesAtOnce(Recorder):
    """Wants nothing before it says so."""

    def connection_made(self, transport):
        super().connection_made(transport)
        if hasattr(transport, "pause_reading"):
            transport.pause_reading()


# Early patch releases of 3.11 read all the same.
EARLY = SOCKETS if "is_reading" in inspect.getsource(
    selector_events._SelectorTransport._add_reader) else ()


# A TLS client that pauses there never sends the last message of its handshake.
@stream(*EARLY, "tls-unix", "pipe", near=PausesAtOnce)
async def pausing_in_connection_made_is_honoured(rig, trace):
    await rig.far.sends(b"held")
    await settle(rig.loop)
    rig.reading.lane("resume")
    rig.reader.resume_reading()
    await rig.reading.receives(4)
    await finish(rig)


@stream()
async def the_end_waits_for_resume(rig, trace):
    rig.reader.pause_reading()
    await rig.far.sends(b"before the end")
    await rig.far.ends()
    await settle(rig.loop)
    rig.reading.lane("resume")
    rig.reader.resume_reading()
    await rig.reading.receives(14)
    await rig.reading.happens("connection_lost")


class PausesWithEachPiece(Recorder):
    """Takes one piece for each iteration of the loop."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self.transport.resume_reading)


@stream(near=PausesWithEachPiece)
async def pausing_with_each_piece_loses_nothing(rig, trace):
    sending = asyncio.ensure_future(rig.far.sends(pattern(1 << 20)))
    await rig.reading.receives(1 << 20)
    await sending
    await settle(rig.loop)
    await finish(rig)


class ClosesOnData(Recorder):
    """Has heard enough with the first piece."""

    how = "close"

    def data_received(self, data):
        super().data_received(data[:1])
        getattr(self.transport, self.how)()


class AbortsOnData(ClosesOnData):
    """Ends the hard way."""

    how = "abort"


@stream(near=ClosesOnData)
async def close_in_data_received_ends_reading(rig, trace):
    await rig.far.sends(b"x" * 100)
    await rig.reading.happens("connection_lost")


@stream(*TWO_WAY, near=AbortsOnData)
async def abort_in_data_received_ends_reading(rig, trace):
    await rig.far.sends(b"x" * 100)
    await rig.reading.happens("connection_lost")


# ---- writing ----------------------------------------------------------------------


@stream()
async def every_kind_of_bytes_is_written(rig, trace):
    pieces = [b"bytes ", bytearray(b"bytearray "), memoryview(b"a view "), b"",
              memoryview(bytearray(b"..of a bytearray.."))[2:-2], bytearray()]
    for piece in pieces:
        trace.call("write", rig.writer.write, piece)
    trace("size", rig.writer.get_write_buffer_size())
    trace("far got", await rig.far.reads(sum(map(len, pieces))))
    await finish(rig)


@stream()
async def what_is_no_bytes_is_refused(rig, trace):
    for wrong in ("text", 7, None, [1, 2]):
        trace.call_class("write", rig.writer.write, wrong)
    trace.call_class("writelines", rig.writer.writelines, ["text", b"x"])
    trace.call_class("writelines", rig.writer.writelines, 7)
    rig.writer.write(b"still works")
    trace("far got", (await rig.far.reads(11))[-10:])
    await finish(rig)


@stream()
async def writelines_joins_its_lines(rig, trace):
    rig.writer.writelines([b"one ", bytearray(b"two "), memoryview(b"three ")])
    rig.writer.writelines(line for line in (b"four ", b"five"))
    trace("far got", await rig.far.reads(23))
    await finish(rig)


@stream()
async def writes_of_all_sizes_keep_their_order(rig, trace):
    sizes = [1, 100, 70_000, 3, 200_000, 16_384, 1, 1, 65_536, 500_000, 2]
    data = pattern(sum(sizes))
    rig.writer.set_write_buffer_limits(high=2 * MUCH)
    start = 0
    for size in sizes:
        rig.writer.write(data[start:start + size])
        start += size
    trace("far got", await rig.far.reads(len(data)) == data)
    await finish(rig)


@stream()
async def a_full_buffer_pauses_until_it_drains(rig, trace):
    written = fill(rig)
    trace("full", rig.writer.get_write_buffer_size() > 0)
    rig.writing.lane("far reads")
    trace("far got", await rig.far.reads(written))
    await rig.writing.happens("resume_writing")
    trace("left", rig.writer.get_write_buffer_size())
    await finish(rig)


class WritesWhenResumed(Recorder):
    """Writes again as soon as it may, once."""

    def resume_writing(self):
        super().resume_writing()
        if not hasattr(self, "again"):
            self.again = True
            self.transport.write(b"and again")


@stream(near=WritesWhenResumed)
async def resume_writing_may_write(rig, trace):
    written = fill(rig)
    trace("far got", (await rig.far.reads(written + 9))[-9:])
    await finish(rig)


@stream()
async def water_marks_follow_what_is_set(rig, trace):
    trace("default", rig.writer.get_write_buffer_limits())
    for high, low in ((None, None), (1000, None), (None, 100), (9, 3), (0, None)):
        limits = {"high": high, "low": low}
        trace.call("set", rig.writer.set_write_buffer_limits, **limits)
        trace("limits", rig.writer.get_write_buffer_limits())
    for limits in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}):
        trace.call("wrong", rig.writer.set_write_buffer_limits, **limits)
    await finish(rig)


@stream()
async def lower_water_marks_pause_at_once(rig, trace):
    rig.writer.set_write_buffer_limits(high=2 * MUCH)
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    rig.writing.lane("lower")
    rig.writer.set_write_buffer_limits(high=10)
    trace("far got", await rig.far.reads(MUCH))
    await finish(rig)


class WritesAtOnce(Recorder):
    """Speaks first, and once more when it is over."""

    def connection_made(self, transport):
        super().connection_made(transport)
        if hasattr(transport, "write"):
            transport.write(b"hello")

    def connection_lost(self, exc):
        super().connection_lost(exc)
        if hasattr(self.transport, "write"):
            self.lane.call("write", self.transport.write, b"too late")


@stream(near=WritesAtOnce)
async def the_protocol_may_write_first_and_last(rig, trace):
    trace("far got", await rig.far.reads(5))
    await finish(rig)


@stream(*TWO_WAY)
async def mebibytes_both_ways_at_once(rig, trace):
    rig.writing.pause_writing = rig.writing.resume_writing = lambda: None
    sending = asyncio.ensure_future(rig.far.sends(pattern(MUCH)))
    rig.writer.write(pattern(MUCH, 2))
    trace("far got", await rig.far.reads(MUCH))
    await rig.reading.receives(MUCH)
    await sending
    await finish(rig)
