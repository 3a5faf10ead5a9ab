"""What a stream transport says of itself, and bulk data through it both ways."""

import asyncio
import os
import socket

import pytest

from .endpoints import (
    FAMILIES,
    KINDS,
    Recorder,
    closed,
    connecting,
    in_thread,
    joined,
    pattern,
    read_to_end,
    reset,
    serving,
    wired,
)
from .framework import parity

every_family = pytest.mark.parametrize("family", FAMILIES)
both_kinds = pytest.mark.parametrize("kind", KINDS)

INFO_KEYS = ("peername", "sockname", "socket", "sslcontext", "ssl_object", "pipe",
             "subprocess", "cipher", "compression", "peercert", "unknown")


def describe_info(key, value):
    """Addresses and sockets by what they are; their numbers are of this run."""
    if key == "socket" and value is not None:
        return [type(value).__name__, int(value.family), value.fileno() > 0]
    if isinstance(value, tuple):
        return [type(item) for item in value]
    return value if value is None else type(value)


@every_family
@parity
async def test_extra_info(loop, trace, family):
    server = Recorder(trace.lane("server"))
    client = Recorder(trace.lane("client"))
    async with joined(loop, family, server, client) as (accepted, connected):
        for name, transport in (("accepted", accepted), ("connected", connected)):
            for key in INFO_KEYS:
                value = transport.get_extra_info(key)
                trace(name, key, describe_info(key, value))
            trace("default", transport.get_extra_info("unknown", "a default"))
            trace.call_class("no key", transport.get_extra_info)
        ends = [connected.get_extra_info(key) for key in ("sockname", "peername")]
        there = [accepted.get_extra_info(key) for key in ("peername", "sockname")]
        trace("the ends agree", ends == there)


@parity
async def test_the_socket_behind_the_transport(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    sock = transport.get_extra_info("socket")
    trace("type", type(sock).__name__, sock.gettimeout(), sock.type, sock.proto)
    trace("no delay", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    trace("fileno", sock.fileno() > 0)
    for name in ("recv", "send", "close", "detach", "accept"):
        trace("has", name, hasattr(sock, name))
    transport.close()
    await protocol.happens("connection_lost")
    trace("fileno after the end", sock.fileno())
    peer.close()


@parity
async def test_accepted_sockets_do_not_delay(loop, trace):
    server = Recorder(trace.lane("server"))
    client = Recorder(trace.lane("client"))
    async with joined(loop, "tcp", server, client) as ends:
        for transport in ends:
            sock = transport.get_extra_info("socket")
            flag = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            trace("no delay", flag != 0, sock.gettimeout(), sock.get_inheritable())


@parity
async def test_what_is_asked_when_the_connection_has_ended(loop, trace):
    server = Recorder(trace.lane("server"))
    client = Recorder(trace.lane("client"))
    async with joined(loop, "tcp", server, client) as (accepted, connected):
        ends = [connected.get_extra_info(key) for key in ("sockname", "peername")]
        connected.abort()
        accepted.abort()
        await server.happens("connection_lost")
        await client.happens("connection_lost")
        sock = accepted.get_extra_info("socket")
        trace("socket", type(sock).__name__, sock.fileno(), sock.family, sock.type,
              sock.proto, sock is accepted.get_extra_info("socket"))
        there = [accepted.get_extra_info(key) for key in ("peername", "sockname")]
        trace("the ends agree", ends == there)
        trace("_sock", accepted._sock)


@parity
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
async def test_the_peer_of_a_connection_that_was_reset_before_it_was_accepted(
        loop, trace, host):
    seen = loop.create_future()

    class Asking(asyncio.Protocol):
        def connection_made(self, transport):
            seen.set_result(transport.get_extra_info("peername"))

    server = await loop.create_server(Asking, host, 0)
    with socket.create_connection(server.sockets[0].getsockname()[:2]) as peer:
        name = peer.getsockname()
        reset(peer)
    trace("known", await seen == name)
    await closed(server)


@parity
async def test_a_descriptor_taken_again_is_another_transports(loop, trace):
    """What is known of a descriptor goes with it."""
    old = Recorder(trace.lane("old"))
    transport, peer = await wired(loop, "tcp", old)
    number = transport.get_extra_info("socket").fileno()
    near, far = socket.socketpair()
    transport.abort()
    await old.happens("connection_lost")
    with near:
        os.dup2(near.fileno(), number)
    again = socket.socket(fileno=number)
    new = Recorder(trace.lane("new"))
    connected, _ = await loop.create_connection(lambda: new, sock=again)
    trace("kept by the loop", loop._transports.get(number) is connected)
    del transport
    far.sendall(b"still there")
    await new.receives(11)
    trace("open", again.fileno() == number)
    connected.close()
    await new.happens("connection_lost")
    peer.close()
    far.close()


LENGTHS = [100_000, 100_000, 100_000, 30_000, 200_000, 65_536, 250_000, 250_000, 1]


@every_family
@parity
async def test_long_reads_of_all_lengths(loop, trace, family):
    """One after the other, so that each is read knowing the length of the last."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    for number, length in enumerate(LENGTHS * 2):
        wanted = protocol.received_bytes + length
        await in_thread(loop, peer.sendall, pattern(length, number))
        await protocol.receives(wanted)
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


@every_family
@both_kinds
@parity
async def test_repr_works_in_every_state(loop, trace, family, kind):
    protocol = kind(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)

    def look(state):
        text = repr(transport)
        trace(state, text.startswith("<"), "fd=" in text, "closing" in text,
              "closed" in text)

    look("fresh")
    transport.pause_reading()
    look("paused")
    transport.write(pattern(4 << 20))
    look("writing")
    transport.close()
    look("closing")
    await in_thread(loop, read_to_end, peer)
    await protocol.happens("connection_lost")
    look("closed")
    peer.close()


@parity
async def test_attributes_that_others_use(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    for name in ("_sock", "_sock_fd", "_loop", "_extra", "_start_tls_compatible",
                 "_sendfile_compatible", "_force_close"):
        trace("has", name, hasattr(transport, name))
    trace("compatible", transport._start_tls_compatible)
    trace("kept by the loop", loop._transports.get(transport._sock_fd) is transport)
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


SIZES = [1, 1, 7, 64, 1024, 4095, 4096, 4097, 16384, 16385, 65536, 100_000, 262_144]


@every_family
@both_kinds
@parity
async def test_sizes_up_and_down_again(loop, trace, family, kind):
    """Every message is received before the next goes out."""
    protocol = kind(trace)
    transport, peer = await wired(loop, family, protocol)
    total = 0
    for number, size in enumerate(SIZES + SIZES[::-1] + [1, 1, 1, 65536, 1, 65536, 1]):
        total += size
        sending = in_thread(loop, peer.sendall, pattern(size, number))
        await protocol.receives(total)
        await sending
        trace("message", number, size)
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


class Echo(Recorder):
    """Sends everything back, and holds the sender while it cannot."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


@every_family
@both_kinds
@parity
async def test_mebibytes_both_ways_at_once(loop, trace, family, kind):
    class Feeder(kind):
        """Flow control is timing here; only the bytes are compared."""

        def pause_writing(self):
            pass

        def resume_writing(self):
            pass

    total = 16 << 20
    client = Feeder(trace.lane("client"))
    servers = []

    def factory():
        servers.append(Echo(trace.lane("server")))
        return servers[-1]

    async with serving(loop, family, factory) as address:
        transport, _ = await connecting(loop, family, lambda: client, address)
        for number in range(16):
            transport.write(pattern(total // 16, number))
        await client.receives(total)
        transport.close()
        await client.happens("connection_lost")
        await servers[0].happens("connection_lost")


@both_kinds
@parity
async def test_small_and_bulk_messages_mixed(loop, trace, kind):
    class Echoing(kind):
        def _note_data(self, chunk):
            super()._note_data(chunk)
            self.transport.write(bytes(chunk))

    def converse(peer):
        """One thread asks and reads the answer, sizes far apart."""
        exact = 0
        for number in range(60):
            message = pattern((1, 65536, 3, 200_000, 20)[number % 5], number)
            peer.sendall(message)
            answer = bytearray()
            while len(answer) < len(message):
                answer += peer.recv(1 << 20)
            exact += answer == message
        return exact

    class Quiet(Echoing):
        def pause_writing(self):
            pass

        def resume_writing(self):
            pass

    protocol = Quiet(trace.lane("server"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace("exact answers", await in_thread(loop, converse, peer))
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


@every_family
@parity
async def test_a_transport_takes_attributes_and_patched_methods(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    with peer:
        trace("paused", transport._paused)
        transport.pause_reading()
        trace("paused", transport._paused)
        transport.resume_reading()
        transport.color = "green"
        trace("attribute", transport.color, vars(transport)["color"])
        transport.write = lambda data: trace("instead of write", data)
        transport.write(b"unsent")
        del transport.write, transport.color
        trace("gone", hasattr(transport, "color"))
        transport.write(b"sent")
        transport.close()
        await protocol.happens("connection_lost")
        trace("peer got", await in_thread(loop, read_to_end, peer))


@both_kinds
@parity
async def test_a_socket_with_methods_of_its_own_has_them_called(loop, trace, kind):
    class Shouting(socket.socket):
        def recv(self, size):
            return super().recv(size).upper()

        def recv_into(self, buffer):
            received = super().recv(len(buffer)).upper()
            memoryview(buffer)[: len(received)] = received
            return len(received)

        def send(self, data):
            return super().send(bytes(data).upper())

    near, peer = socket.socketpair()
    loud = Shouting(fileno=near.detach())
    with peer, loud:
        protocol = kind(trace.lane("client"))
        await loop.create_unix_connection(lambda: protocol, sock=loud)
        peer.send(b"hello")
        await protocol.receives(5)
        protocol.transport.write(b"to you")
        protocol.transport.close()
        await protocol.happens("connection_lost")
        trace("peer got", await in_thread(loop, read_to_end, peer))
