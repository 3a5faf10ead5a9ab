"""The contexts that the callbacks of a connection run in.

Before Python 3.15 each callback has a copy of its cause's; from 3.15 on, all callbacks
of a connection share one.
"""

import asyncio
import contextvars
import sys

import pytest

from . import certificates
from .endpoints import (
    FAMILIES,
    Recorder,
    connected_sockets,
    connecting,
    in_thread,
    read_exactly,
    reset,
    serving,
    settle,
    wired,
)
from .framework import parity

VAR = contextvars.ContextVar("VAR", default="unset")
BIG = 8 << 20

every_family = pytest.mark.parametrize("family", FAMILIES)
since_3_15 = pytest.mark.skipif(sys.version_info < (3, 15), reason="came with 3.15")


class ContextProtocol(Recorder):
    """Notes which value of VAR each callback sees, then sets another."""

    def look(self, name):
        self.lane(name, "sees", VAR.get())
        VAR.set(f"set by {name}")

    def connection_made(self, transport):
        self.look("connection_made")
        super().connection_made(transport)

    def data_received(self, data):
        self.look("data_received")
        super().data_received(data)

    def eof_received(self):
        self.look("eof_received")
        return super().eof_received()

    def pause_writing(self):
        self.look("pause_writing")
        super().pause_writing()

    def resume_writing(self):
        self.look("resume_writing")
        super().resume_writing()

    def connection_lost(self, exc):
        self.look("connection_lost")
        super().connection_lost(exc)


async def exchange(protocol, peer):
    """Two messages, each seen before the next, then the end."""
    with peer:
        for number in (1, 2):
            peer.send(b"x")
            await protocol.receives(number)
        peer.shutdown(1)
        await protocol.happens("connection_lost")


@parity
async def test_contexts_of_a_clients_callbacks(loop, trace):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    _, peer = await wired(loop, "tcp", protocol)
    VAR.set("changed after connecting")
    await exchange(protocol, peer)
    trace("the task sees", VAR.get())


@parity
async def test_reading_goes_on_in_the_context_of_resume(loop, trace):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    with peer:
        peer.send(b"x")
        await protocol.receives(1)
        transport.pause_reading()
        VAR.set("of the task that resumes")
        transport.resume_reading()
        peer.send(b"x")
        await protocol.receives(2)
        transport.close()
        await protocol.happens("connection_lost")


@parity
async def test_connection_lost_sees_the_context_of_close(loop, trace):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    transport, peer = await wired(loop, "tcp", protocol)
    with peer:
        peer.send(b"x")
        await protocol.receives(1)
        VAR.set("of the task that closes")
        transport.close()
        await protocol.happens("connection_lost")


@parity
async def test_contexts_of_a_servers_callbacks(loop, trace):
    protocols = []

    def factory():
        trace.lane("server")("factory sees", VAR.get())
        protocols.append(ContextProtocol(trace.lane("server")))
        return protocols[-1]

    VAR.set("of the serving task")
    async with serving(loop, "tcp", factory) as address:
        VAR.set("changed after serving")
        client = Recorder(trace.lane("client"))
        transport, _ = await connecting(loop, "tcp", lambda: client, address)
        transport.write(b"x")
        while not protocols:
            await settle(loop)
        await protocols[0].receives(1)
        transport.close()
        await protocols[0].happens("connection_lost")


@parity
async def test_the_factory_sees_the_connecting_tasks_context(loop, trace):
    def factory():
        trace("factory sees", VAR.get())
        VAR.set("set by the factory")
        return Recorder(trace.lane("client"))

    async with serving(loop, "tcp", lambda: Recorder(trace.lane("server"))) as address:
        VAR.set("of the task")
        transport, protocol = await connecting(loop, "tcp", factory, address)
        trace("the task sees", VAR.get())
        transport.close()
        await protocol.happens("connection_lost")
        await settle(loop)


@every_family
@parity
async def test_contexts_of_writes_that_wait(loop, trace, family):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    transport, peer = await wired(loop, family, protocol)
    with peer:
        VAR.set("of the task that writes")
        transport.write(bytes(BIG))
        VAR.set("changed after writing")
        await in_thread(loop, read_exactly, peer, BIG)
        await protocol.happens("resume_writing")
        transport.write(bytes(BIG))
        transport.close()
        VAR.set("changed after closing")
        await in_thread(loop, read_exactly, peer, BIG)
        await protocol.happens("connection_lost")


@every_family
@parity
async def test_contexts_after_a_pause_with_data(loop, trace, family):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    transport, peer = await wired(loop, family, protocol)
    with peer:
        peer.send(b"x")
        transport.pause_reading()
        await settle(loop)
        VAR.set("of the task that resumes")
        transport.resume_reading()
        await protocol.receives(1)
        peer.shutdown(1)
        await protocol.happens("connection_lost")


@every_family
@parity
async def test_contexts_of_the_end_by_an_error_of_the_protocol(loop, trace, family):
    class Failing(ContextProtocol):
        def data_received(self, data):
            super().data_received(data)
            raise ValueError("broken")

    def handler(loop, details):
        trace.lane("handler")("sees", VAR.get())

    loop.set_exception_handler(handler)
    VAR.set("of the connecting task")
    protocol = Failing(trace)
    transport, peer = await wired(loop, family, protocol)
    VAR.set("changed after connecting")
    with peer:
        peer.send(b"x")
        await protocol.happens("connection_lost")


@parity
async def test_the_context_of_an_end_by_reset(loop, trace):
    VAR.set("of the connecting task")
    protocol = ContextProtocol(trace)
    _, peer = await wired(loop, "tcp", protocol)
    VAR.set("changed after connecting")
    reset(peer)
    await protocol.happens("connection_lost")


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@parity
async def test_contexts_of_both_ends(loop, trace, tls, eager):
    """A server that starts later than it was made, and a factory that sets VAR."""
    protocols = []

    def factory():
        trace.lane("server")("factory sees", VAR.get())
        VAR.set("set by the factory")
        protocols.append(ContextProtocol(trace.lane("server")))
        return protocols[-1]

    if eager and sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    VAR.set("of the task that makes the server")
    server = await loop.create_server(
        factory, "127.0.0.1", 0, start_serving=False,
        ssl=certificates.server_context() if tls else None)
    async with server:
        VAR.set("of the task that starts the server")
        await server.start_serving()
        VAR.set("of the connecting task")
        client = ContextProtocol(trace.lane("client"))
        options = dict(ssl=certificates.client_context(),
                       server_hostname=certificates.NAME) if tls else {}
        transport, _ = await loop.create_connection(
            lambda: client, *server.sockets[0].getsockname(), **options)
        VAR.set("changed after connecting")
        transport.write(b"x")
        while not protocols:
            await settle(loop)
        await protocols[0].receives(1)
        protocols[0].transport.write(b"x")
        await client.receives(1)
        transport.close()
        await client.happens("connection_lost")
        await protocols[0].happens("connection_lost")


@pytest.mark.parametrize("option", [
    pytest.param({}, id="none"),
    pytest.param({"context": contextvars.Context()}, id="given", marks=since_3_15)])
@parity
async def test_contexts_of_a_transport_made_by_the_hook(loop, trace, option):
    near, peer = connected_sockets("tcp")
    near.setblocking(False)
    VAR.set("of the task")
    for context in option.values():
        context.run(VAR.set, "of the given context")
    protocol = ContextProtocol(trace)
    waiter = loop.create_future()
    transport = loop._make_socket_transport(near, protocol, waiter, **option)
    await waiter
    with peer:
        peer.send(b"x")
        await protocol.receives(1)
        VAR.set("of the task that pauses")
        transport.pause_reading()
        transport.resume_reading()
        peer.send(b"x")
        await protocol.receives(2)
        VAR.set("of the task that closes")
        transport.close()
        await protocol.happens("connection_lost")


@since_3_15
@parity
async def test_contexts_of_watches(loop, trace):
    near, peer = connected_sockets("tcp")
    given = contextvars.Context()
    given.run(VAR.set, "of the given context")
    VAR.set("of the task")
    for add, remove in ((loop._add_reader, loop._remove_reader),
                        (loop._add_writer, loop._remove_writer)):
        for option in ({}, {"context": given}):
            seen = loop.create_future()
            peer.send(b"x")
            add(near, lambda: seen.done() or seen.set_result(VAR.get()), **option)
            trace("callback sees", await seen)
            remove(near)
    near.close()
    peer.close()


class DatagramContexts(asyncio.DatagramProtocol):
    def __init__(self, lane):
        self.lane = lane
        self.lost = asyncio.get_running_loop().create_future()
        self.heard = asyncio.Event()

    def look(self, name):
        self.lane(name, "sees", VAR.get())
        VAR.set(f"set by {name}")
        self.heard.set()

    def connection_made(self, transport):
        self.look("connection_made")

    def datagram_received(self, data, addr):
        self.look("datagram_received")

    def connection_lost(self, exc):
        self.look("connection_lost")
        self.lost.set_result(None)


@parity
async def test_contexts_of_an_endpoint(loop, trace):
    VAR.set("of the task that makes it")
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramContexts(trace), ("127.0.0.1", 0))
    VAR.set("changed after making it")
    for _ in range(2):
        protocol.heard.clear()
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.heard.wait()
    VAR.set("of the task that closes")
    transport.close()
    await protocol.lost
