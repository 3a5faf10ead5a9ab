"""Protocols that raise, and protocols that are exchanged."""

import asyncio

import pytest

from .endpoints import (
    FAMILIES,
    KINDS,
    BufferedRecorder,
    Recorder,
    connecting,
    in_thread,
    read_to_end,
    serving,
    settle,
    wired,
)
from .framework import parity, stock_leaks_a_socket

every_family = pytest.mark.parametrize("family", FAMILIES)


def broken(kind, method, error):
    """A protocol of this kind whose method records, then raises."""

    def raising(self, *args):
        getattr(kind, method)(self, *args)
        raise error

    return type("Broken", (kind,), {method: raising})


@pytest.mark.parametrize("kind, method", [
    (Recorder, "data_received"),
    (BufferedRecorder, "buffer_updated"),
    (BufferedRecorder, "get_buffer"),
    (Recorder, "eof_received"),
    (BufferedRecorder, "eof_received"),
    (Recorder, "connection_lost"),
])
@pytest.mark.parametrize("error", [ValueError("broken"), OSError(5, "broken"),
                                   ConnectionResetError("broken"),
                                   asyncio.CancelledError("broken")])
@every_family
@parity
async def test_a_protocol_that_raises(loop, trace, family, kind, method, error):
    protocol = broken(kind, method, error)(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        peer.send(b"data")
        peer.shutdown(1)
        await protocol.happens("connection_lost")
        trace("closing", transport.is_closing())
        # Whether the peer is reset depends on what was read for get_buffer.
        trace("peer got", (await in_thread(loop, read_to_end, peer))[0])


@every_family
@parity
async def test_connection_made_that_raises(loop, trace, family):
    kind = broken(Recorder, "connection_made", ValueError("broken"))
    protocol = kind(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        peer.send(b"data")
        await protocol.receives(4)
        transport.close()
        await protocol.happens("connection_lost")


@stock_leaks_a_socket
@parity
async def test_a_factory_that_raises(loop, trace):
    def factory():
        raise ValueError("no protocol")

    async with serving(loop, "tcp", lambda: Recorder(trace.lane("server"))) as address:
        await trace.wait("client", connecting(loop, "tcp", factory, address))
        await settle(loop)


@stock_leaks_a_socket
@parity
async def test_a_server_factory_that_raises(loop, trace):
    def factory():
        raise ValueError("no protocol")

    protocol = Recorder(trace.lane("client"))
    async with serving(loop, "tcp", factory) as address:
        await connecting(loop, "tcp", lambda: protocol, address)
        await protocol.happens("connection_lost")


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind, method", [
    (Recorder, "data_received"),
    (BufferedRecorder, "buffer_updated"),
    (BufferedRecorder, "get_buffer"),
    (Recorder, "eof_received"),
])
@parity
def test_fatal_errors_leave_the_loop(loop, trace, kind, method, fatal):
    protocol = broken(kind, method, fatal("now"))(trace)
    transport, peer = loop.run_until_complete(wired(loop, "tcp", protocol))
    with peer:
        loop.call_soon(peer.send, b"data")
        loop.call_soon(peer.shutdown, 1)
        try:
            loop.run_forever()
        except fatal as exc:
            trace("came out", exc)
        trace("closing", transport.is_closing())
        transport.abort()
        loop.run_until_complete(protocol.happens("connection_lost"))


@every_family
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
@parity
async def test_protocols_are_exchanged_between_messages(
    loop, trace, family, first, second
):
    old, new = first(trace.lane("old")), second(trace.lane("new"))
    transport, peer = await wired(loop, family, old)
    new.transport = transport
    with peer:
        peer.send(b"for the old one")
        await old.receives(15)
        transport.set_protocol(new)
        trace("protocol", transport.get_protocol() is new)
        peer.send(b"for the new one")
        await new.receives(15)
        transport.close()
        await new.happens("connection_lost")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
@parity
async def test_protocols_are_exchanged_inside_the_callback(loop, trace, first, second):
    new = second(trace.lane("new"))

    class Handover(first):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            self.transport.set_protocol(new)

    old = Handover(trace.lane("old"))
    transport, peer = await wired(loop, "tcp", old)
    with peer:
        peer.send(b"for the old one")
        await old.receives(15)
        peer.send(b"for the new one")
        await new.receives(15)
        peer.shutdown(1)
        await new.happens("eof_received")
        await new.happens("connection_lost")


@parity
async def test_a_protocol_set_in_connection_made(loop, trace):
    new = BufferedRecorder(trace.lane("new"))

    class Handover(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.set_protocol(new)

    transport, peer = await wired(loop, "tcp", Handover(trace.lane("old")))
    with peer:
        peer.send(b"data")
        await new.receives(4)
        transport.close()
        await new.happens("connection_lost")


@parity
async def test_a_protocol_is_whatever_has_the_methods(loop, trace):
    class Duck:
        def connection_made(self, transport):
            trace("connection_made")

        def data_received(self, data):
            trace("data_received", data, type(data))

        def eof_received(self):
            trace("eof_received")

        def connection_lost(self, exc):
            trace("connection_lost", exc)
            lost.set_result(None)

    lost = loop.create_future()
    _, peer = await wired(loop, "tcp", Duck())
    with peer:
        peer.send(b"data")
        await settle(loop)
        peer.shutdown(1)
        await lost


@parity
async def test_methods_are_looked_up_at_each_call(loop, trace):
    protocol = Recorder(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    with peer:
        peer.send(b"first")
        await protocol.receives(5)
        protocol.data_received = lambda data: trace("replaced", data)
        peer.send(b"second")
        await settle(loop)
        transport.close()
        await protocol.happens("connection_lost")
