"""The life of a stream transport: made, half-closed, closed, aborted, reset."""

import asyncio
import gc
import weakref

import pytest

from .endpoints import (
    FAMILIES,
    KINDS,
    Recorder,
    in_thread,
    joined,
    pattern,
    read_to_end,
    reset,
    settle,
    wired,
)
from .framework import parity

BIG = 4 << 20

every_family = pytest.mark.parametrize("family", FAMILIES)
both_kinds = pytest.mark.parametrize("kind", KINDS)


@every_family
@both_kinds
@parity
async def test_both_ends_of_a_clean_close(loop, trace, family, kind):
    server, client = kind(trace.lane("server")), kind(trace.lane("client"))
    async with joined(loop, family, server, client) as (accepted, connected):
        connected.write(b"question")
        await server.receives(8)
        accepted.write(b"answer")
        await client.receives(6)
        connected.close()
        await server.happens("connection_lost")
        await client.happens("connection_lost")


@every_family
@both_kinds
@parity
async def test_both_ends_of_an_abort(loop, trace, family, kind):
    server, client = kind(trace.lane("server")), kind(trace.lane("client"))
    async with joined(loop, family, server, client) as (_, connected):
        connected.write(b"question")
        await server.receives(8)
        connected.abort()
        trace("closing", connected.is_closing())
        await server.happens("connection_lost")
        await client.happens("connection_lost")


@every_family
@both_kinds
@pytest.mark.parametrize("eof_result", [None, False, True, 1, ""])
@parity
async def test_the_peer_ends_its_stream(loop, trace, family, kind, eof_result):
    protocol = kind(trace.lane("client"), eof_result=eof_result)
    transport, peer = await wired(loop, family, protocol)
    with peer:
        peer.send(b"last words")
        peer.shutdown(1)
        await protocol.happens("eof_received")
        await settle(loop)
        trace("closing", transport.is_closing(), transport.is_reading())
        if eof_result:
            transport.write(b"still speaking")
            transport.close()
        await protocol.happens("connection_lost")
        trace("peer got", *await in_thread(loop, read_to_end, peer))


@every_family
@parity
async def test_our_half_close_lets_the_peer_answer(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        trace("can write eof", transport.can_write_eof())
        transport.write(b"question")
        transport.write_eof()
        trace("closing", transport.is_closing())
        trace("peer got", *await in_thread(loop, read_to_end, peer))
        peer.send(b"answer")
        await protocol.receives(6)
    await protocol.happens("connection_lost")


@every_family
@parity
async def test_write_eof_waits_for_what_was_written(loop, trace, family):
    protocol = Recorder(trace.lane("client"), eof_result=True)
    transport, peer = await wired(loop, family, protocol)
    data = pattern(BIG)
    with peer:
        transport.write(data)
        transport.write_eof()
        transport.write_eof()
        trace.call("write", transport.write, b"more")
        trace.call("write nothing", transport.write, b"")
        trace.call_class("writelines", transport.writelines, [b"more"])
        received, error = await in_thread(loop, read_to_end, peer)
        trace("peer got", received == data, error)
        transport.close()
        await protocol.happens("connection_lost")


@every_family
@both_kinds
@parity
async def test_close_flushes_what_was_written(loop, trace, family, kind):
    protocol = kind(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    data = pattern(BIG)
    with peer:
        transport.write(data)
        transport.close()
        trace("closing", transport.is_closing(), transport.is_reading())
        transport.close()
        await settle(loop)
        trace("waits for the peer", transport.get_write_buffer_size() > 0)
        received, error = await in_thread(loop, read_to_end, peer)
        trace("peer got", received == data, error)
        await protocol.happens("connection_lost")
        trace("left", transport.get_write_buffer_size())


@every_family
@parity
async def test_nothing_is_received_after_close(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        transport.write(pattern(BIG))
        transport.close()
        peer.send(b"too late")
        await settle(loop)
        trace("before the flush")
        await in_thread(loop, read_to_end, peer)
        await protocol.happens("connection_lost")


@every_family
@parity
async def test_abort_drops_what_was_written(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    data = pattern(BIG)
    with peer:
        transport.write(data)
        transport.abort()
        trace("left", transport.get_write_buffer_size(), transport.is_closing())
        transport.abort()
        transport.close()
        await protocol.happens("connection_lost")
        received, error = await in_thread(loop, read_to_end, peer)
        trace("a proper part", data.startswith(received), len(received) < BIG, error)


@every_family
@parity
async def test_abort_after_close_with_data_pending(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        transport.write(pattern(BIG))
        transport.close()
        await settle(loop)
        transport.abort()
        await protocol.happens("connection_lost")
        trace("left", transport.get_write_buffer_size())


@parity
async def test_connection_lost_comes_in_a_later_iteration(loop, trace):
    for action in ("close", "abort"):
        protocol = Recorder(trace)
        transport, peer = await wired(loop, "tcp", protocol)
        with peer:
            getattr(transport, action)()
            trace("returned from", action)
            loop.call_soon(trace, "scheduled after", action)
            await protocol.happens("connection_lost")


@both_kinds
@parity
async def test_reset_while_idle(loop, trace, kind):
    protocol = kind(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    reset(peer)
    await protocol.happens("connection_lost")
    trace("closing", transport.is_closing())


@both_kinds
@parity
async def test_reset_right_after_data(loop, trace, kind):
    protocol = kind(trace.lane("client"))
    _, peer = await wired(loop, "tcp", protocol)
    peer.send(b"last words")
    await protocol.receives(10)
    reset(peer)
    await protocol.happens("connection_lost")


@parity
async def test_reset_while_paused_is_heard_after_resume(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.pause_reading()
    reset(peer)
    await settle(loop)
    trace.lane("client")("still open", transport.is_closing())
    transport.resume_reading()
    await protocol.happens("connection_lost")


@parity
async def test_reset_with_a_full_write_buffer(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    await settle(loop)
    reset(peer)
    await protocol.happens("connection_lost")
    trace("left", transport.get_write_buffer_size())


@parity
async def test_reset_with_a_full_write_buffer_while_paused(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.pause_reading()
    transport.write(pattern(BIG))
    await settle(loop)
    reset(peer)
    await protocol.happens("connection_lost")


@parity
async def test_reset_while_close_is_flushing(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(pattern(BIG))
    transport.close()
    await settle(loop)
    reset(peer)
    await protocol.happens("connection_lost")
    trace("left", transport.get_write_buffer_size())


@parity
async def test_reset_after_our_write_eof(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write_eof()
    await in_thread(loop, read_to_end, peer)
    reset(peer)
    await protocol.happens("connection_lost")


@parity
async def test_reset_after_the_peers_eof(loop, trace):
    protocol = Recorder(trace.lane("client"), eof_result=True)
    transport, peer = await wired(loop, "tcp", protocol)
    peer.shutdown(1)
    await protocol.happens("eof_received")
    reset(peer)
    await settle(loop)
    trace("not noticed while idle", transport.is_closing())
    transport.write(b"x")
    await protocol.happens("connection_lost")


@parity
async def test_a_reset_noticed_by_write(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.pause_reading()
    reset(peer)
    transport.write(b"into the void")
    trace("closing", transport.is_closing())
    transport.write(b"again")
    await protocol.happens("connection_lost")


@every_family
@parity
async def test_a_peer_that_is_gone_with_data_unread(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    transport.write(b"never read")
    await settle(loop)
    peer.close()
    await protocol.happens("connection_lost")


@every_family
@parity
async def test_writes_after_the_end_are_counted_and_warned_of(loop, trace, family):
    for action in ("close", "abort"):
        protocol = Recorder(trace.lane(action))
        transport, peer = await wired(loop, family, protocol)
        with peer:
            getattr(transport, action)()
            for _ in range(7):
                trace.call("write", transport.write, b"x")
            trace.call("empty write", transport.write, b"")
            trace.call("write_eof", transport.write_eof)
            await protocol.happens("connection_lost")
            trace.call("after the end", transport.write, b"x")
            trace("peer got", *await in_thread(loop, read_to_end, peer))


@every_family
@parity
async def test_everything_may_be_called_after_the_end(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        transport.close()
        await protocol.happens("connection_lost")
        for name in ("close", "abort", "is_closing", "pause_reading", "is_reading",
                     "resume_reading", "get_write_buffer_size", "can_write_eof",
                     "get_write_buffer_limits", "write_eof"):
            trace.call(name, getattr(transport, name))
        trace("protocol", transport.get_protocol() is protocol)
        trace("socket", transport.get_extra_info("socket") is not None)


@every_family
@both_kinds
@parity
async def test_the_end_frees_transport_and_protocol(loop, trace, family, kind):
    for how in ("close", "abort", "by peer"):
        protocol = kind(trace.lane(how))
        transport, peer = await wired(loop, family, protocol)
        with peer:
            transport.write(b"x")
            if how == "by peer":
                peer.close()
            else:
                getattr(transport, how)()
            await protocol.happens("connection_lost")
            watched = [weakref.ref(transport), weakref.ref(protocol)]
            protocol.transport = None
            del transport, protocol
            # The task that awaited and the loop's queue let go one step later.
            await asyncio.sleep(0)
            gc.collect()
            trace(how, [reference() is None for reference in watched])


@pytest.mark.parametrize("paused", [False, True], ids=["reading", "paused"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@parity
def test_a_forgotten_transport_is_closed_with_the_loop_at_the_latest(
    loop, trace, paused
):
    """The framework counts the descriptors that are left when the loop is closed."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = loop.run_until_complete(wired(loop, "tcp", protocol))
    if paused:
        transport.pause_reading()
    peer.close()
    protocol.transport = None
    del transport
    trace("forgotten")
