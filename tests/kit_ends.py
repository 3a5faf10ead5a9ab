"""How every stream transport ends: closed, aborted, half, or left by the far end."""

import asyncio
import gc
import weakref

from .kit import MUCH, Lax, stream
from .parity.endpoints import pattern, settle
from .parity.rigs import PIPES, SOCKETS, TLS


@stream()
async def close_delivers_what_was_written(rig, trace):
    rig.writing.pause_writing = rig.writing.resume_writing = lambda: None
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    rig.writer.close()
    trace("closing", rig.writer.is_closing())
    trace("far got", await rig.far.reads_to_end())
    await rig.writing.happens("connection_lost")


@stream()
async def abort_drops_what_was_written(rig, trace):
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    rig.writer.abort()
    trace("closing", rig.writer.is_closing())
    await rig.writing.happens("connection_lost")
    if rig.kind not in TLS:  # where the rest is lost with its keys
        received = await rig.far.reads_to_end()
        trace("a part", pattern(MUCH).startswith(received), len(received) < MUCH)


@stream()
async def abort_after_close_drops_the_rest(rig, trace):
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    rig.writer.close()
    rig.writing.lane("abort")
    rig.writer.abort()
    await rig.writing.happens("connection_lost")


@stream()
async def the_end_may_be_asked_for_again(rig, trace):
    # abort() of a pipe says connection_lost() with each call.
    names = ("close", "close") if rig.kind in PIPES else ("close", "abort") * 2
    for name in names:
        for protocol in rig.ends:
            trace.call(name, getattr(protocol.transport, name))
    await rig.over()
    for protocol in rig.ends:
        trace.call("close", protocol.transport.close)


@stream()
async def connection_lost_comes_in_a_later_iteration(rig, trace):
    for protocol in rig.ends:
        protocol.transport.close()
        protocol.lane("after close")
    rig.loop.call_soon(rig.writing.lane, "scheduled after close")
    await rig.over()


@stream()
async def writes_after_the_end_are_counted(rig, trace):
    rig.writer.abort()
    await rig.writing.happens("connection_lost")
    for _ in range(7):
        trace.call("write", rig.writer.write, b"x")
    trace("size", rig.writer.get_write_buffer_size())


@stream()
async def write_eof_ends_one_direction(rig, trace):
    trace("can", rig.writer.can_write_eof())
    rig.writing.pause_writing = rig.writing.resume_writing = lambda: None
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    trace.call("write_eof", rig.writer.write_eof)
    if rig.kind in TLS:
        trace("far got", await rig.far.reads(MUCH))
        return
    trace.call("again", rig.writer.write_eof)
    trace.call("write", rig.writer.write, b"x")
    trace("far got", await rig.far.reads_to_end())
    await rig.far.sends(b"the other direction lives")
    await rig.reading.receives(25)
    await rig.far.ends()
    await rig.over()


@stream(near=Lax)
async def a_far_end_that_vanishes(rig, trace):
    await rig.far.vanishes()
    await rig.over()


@stream(near=Lax)
async def a_far_end_that_vanishes_with_data_pending(rig, trace):
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    await rig.far.vanishes()
    await rig.writing.happens("connection_lost")
    trace("size", rig.writer.get_write_buffer_size())


@stream(*SOCKETS, *PIPES, near=Lax)
async def a_far_end_that_vanishes_while_we_are_paused(rig, trace):
    rig.reader.pause_reading()
    await rig.far.sends(b"unread")
    await rig.far.vanishes()
    await settle(rig.loop)
    rig.reader.resume_reading()
    await rig.over()


@stream()
async def the_end_lets_go_of_everything(rig, trace):
    seen = []
    for protocol in rig.ends:
        transport = protocol.transport
        seen += [weakref.ref(transport), weakref.ref(protocol)]
        transport.close()
    await rig.over()
    rig.forget()
    del transport, protocol
    # The task that awaited and the loop's queue let go one step later.
    await asyncio.sleep(0)
    gc.collect()
    trace("gone", [reference() is None for reference in seen])
