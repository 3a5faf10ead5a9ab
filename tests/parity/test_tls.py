"""TLS over our transports: handshakes, echoes, start_tls, and the orders of ending."""

import asyncio
import contextlib
import socket

import pytest

from tests.slowness import PATIENCE_SECONDS

from . import certificates
from .endpoints import (
    FAMILIES,
    KINDS,
    Recorder,
    connecting,
    pattern,
    reset,
    serving,
    settle,
)
from .framework import parity, stock_leaks_a_socket
from .tracing import Trace

every_family = pytest.mark.parametrize("family", FAMILIES)
both_kinds = pytest.mark.parametrize("kind", KINDS)

CLIENT = {"server_hostname": certificates.NAME}
SECONDS = PATIENCE_SECONDS


@contextlib.asynccontextmanager
async def secured(loop, family, server, client):
    """Both ends over TLS: yields the server's and the client's transport."""
    context = certificates.server_context()
    async with serving(loop, family, lambda: server, ssl=context) as address:
        transport, _ = await connecting(
            loop, family, lambda: client, address,
            ssl=certificates.client_context(), **CLIENT,
        )
        await server.happens("connection_made")
        yield server.transport, transport
        for protocol in (server, client):
            protocol.transport.abort()
            await protocol.happens("connection_lost")


@every_family
@both_kinds
@parity
async def test_an_echo_and_a_clean_close(loop, trace, family, kind):
    server, client = kind(trace.lane("server")), kind(trace.lane("client"))
    async with secured(loop, family, server, client) as (accepted, connected):
        connected.write(b"question")
        await server.receives(8)
        accepted.writelines([b"ans", b"wer"])
        await client.receives(6)
        trace("can write eof", connected.can_write_eof())
        trace.call("write_eof", connected.write_eof)
        trace.call("text", connected.write, "text")
        connected.close()
        trace("closing", connected.is_closing())
        await client.happens("connection_lost")
        await server.happens("connection_lost")


@every_family
@parity
async def test_the_server_closes(loop, trace, family):
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    async with secured(loop, family, server, client) as (accepted, _):
        accepted.write(b"goodbye")
        accepted.close()
        await client.happens("connection_lost")
        await server.happens("connection_lost")


@every_family
@parity
async def test_an_abort(loop, trace, family):
    # Whether the peer sees an end or a reset depends on what was read of its tickets.
    server, client = Recorder(Trace()), Recorder(trace.lane("client"))
    async with secured(loop, family, server, client) as (_, connected):
        connected.abort()
        await client.happens("connection_lost")
        await server.happens("connection_lost")


@both_kinds
@parity
async def test_mebibytes_through_tls(loop, trace, kind):
    server, client = kind(trace.lane("server")), kind(trace.lane("client"))
    for protocol in (server, client):
        protocol.pause_writing = protocol.resume_writing = lambda: None
    async with secured(loop, "tcp", server, client) as (accepted, connected):
        for number in range(8):
            connected.write(pattern(1 << 19, number))
            accepted.write(pattern(1 << 19, number + 100))
        await server.receives(8 << 19)
        await client.receives(8 << 19)
        connected.close()
        await client.happens("connection_lost")
        await server.happens("connection_lost")


@parity
async def test_close_flushes_what_was_written(loop, trace):
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    client.pause_writing = client.resume_writing = lambda: None
    async with secured(loop, "tcp", server, client) as (_, connected):
        connected.write(pattern(4 << 20))
        connected.close()
        await server.happens("connection_lost")
        await client.happens("connection_lost")


@parity
async def test_pausing_over_tls(loop, trace):
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    async with secured(loop, "tcp", server, client) as (accepted, connected):
        connected.pause_reading()
        trace("reading", connected.is_reading())
        accepted.write(b"held")
        await settle(loop)
        trace.lane("client")("held back")
        connected.resume_reading()
        await client.receives(4)
        connected.close()
        await client.happens("connection_lost")


@parity
async def test_what_a_tls_transport_says(loop, trace):
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    async with secured(loop, "tcp", server, client) as (accepted, connected):
        for name, transport in (("accepted", accepted), ("connected", connected)):
            for key in ("peername", "socket", "sslcontext", "ssl_object", "cipher",
                        "compression", "peercert"):
                value = transport.get_extra_info(key)
                trace(name, key, value is not None, bool(value))
            trace(name, transport.get_write_buffer_limits(), transport.is_reading())
        certificate = connected.get_extra_info("peercert")
        trace("name", str(certificate["subjectAltName"]))
        trace("version", connected.get_extra_info("ssl_object").version())


@parity
async def test_a_certificate_that_is_not_trusted(loop, trace):
    context = certificates.server_context()
    server = Recorder(trace.lane("server"))
    async with serving(loop, "tcp", lambda: server, ssl=context) as address:
        for label, options in {
            "unknown authority": {"ssl": certificates.distrusting_context(), **CLIENT},
            "another name": {"ssl": certificates.client_context(),
                             "server_hostname": "other.example"},
        }.items():
            made = connecting(loop, "tcp", asyncio.Protocol, address, **options)
            try:
                await made
            except OSError as exc:
                trace(label, type(exc), exc.verify_message)
        await settle(loop)


@pytest.mark.parametrize("answer", [b"", b"this is no TLS\r\n\r\n" * 20, None])
@parity
async def test_a_peer_that_speaks_no_tls(loop, trace, answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = connecting(
            loop, "tcp", lambda: Recorder(trace.lane("client")), listener.getsockname(),
            ssl=certificates.client_context(), **CLIENT,
        )
        attempt = asyncio.ensure_future(made)
        listener.setblocking(False)
        peer, _ = await loop.sock_accept(listener)
        with peer:
            if answer is None:
                reset(peer)
            else:
                await loop.sock_recv(peer, 1 << 16)
                peer.send(answer)
        try:
            await attempt
        except OSError as exc:
            trace("failed", type(exc), exc.errno)


@parity
async def test_a_handshake_that_never_ends(loop, trace):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = connecting(
            loop, "tcp", asyncio.Protocol, listener.getsockname(),
            ssl=certificates.client_context(), ssl_handshake_timeout=0.05, **CLIENT,
        )
        await trace.wait("handshake", made)


@parity
async def test_a_cancelled_handshake(loop, trace):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = connecting(
            loop, "tcp", lambda: Recorder(trace.lane("client")), listener.getsockname(),
            ssl=certificates.client_context(), **CLIENT,
        )
        attempt = asyncio.ensure_future(made)
        listener.setblocking(False)
        peer, _ = await loop.sock_accept(listener)
        attempt.cancel()
        await asyncio.wait([attempt])
        trace("cancelled", attempt.cancelled())
        peer.close()


@stock_leaks_a_socket
@parity
async def test_wrong_timeouts(loop, trace):
    address = ("127.0.0.1", 1)
    for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        for value in (0, -1):
            options = {"ssl": certificates.client_context(), name: value, **CLIENT}
            with socket.create_server(("127.0.0.1", 0)) as listener:
                address = listener.getsockname()
                made = connecting(loop, "tcp", asyncio.Protocol, address, **options)
                await trace.wait(name, made)


class Upgrading(Recorder):
    """Waits for the word, then speaks TLS."""

    def data_received(self, data):
        super().data_received(data)
        if data == b"STARTTLS":
            self.transport.pause_reading()
            self.transport.write(b"GO")
            self.upgrading = asyncio.ensure_future(self.upgrade())

    async def upgrade(self):
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(
            self.transport, self, certificates.server_context(), server_side=True
        )
        self._happened.add("upgraded")
        self._wake()


@every_family
@parity
async def test_start_tls_on_both_sides(loop, trace, family):
    server, client = Upgrading(trace.lane("server")), Recorder(trace.lane("client"))
    async with serving(loop, family, lambda: server) as address:
        plain, _ = await connecting(loop, family, lambda: client, address)
        plain.write(b"STARTTLS")
        await client.receives(2)
        secure = await loop.start_tls(
            plain, client, certificates.client_context(), **CLIENT
        )
        client.lane("upgraded")
        secure.write(b"a secret")
        await server.happens("upgraded")
        await server.receives(16)
        server.transport.write(pattern(200_000))
        await client.receives(200_002)
        trace("plain", plain.is_closing(), secure.is_closing())
        secure.close()
        await client.happens("connection_lost")
        await server.happens("connection_lost")


@parity
async def test_start_tls_refuses(loop, trace):
    protocol = Recorder(trace.lane("client"))
    context = certificates.client_context()
    async with serving(loop, "tcp", lambda: Recorder(trace.lane("server"))) as address:
        transport, _ = await connecting(loop, "tcp", lambda: protocol, address)
        for label, arguments in {
            "no context": (transport, protocol, None),
            "a flag": (transport, protocol, True),
            "no transport": (None, protocol, context),
            "an object": (object(), protocol, context),
        }.items():
            await trace.wait(label, loop.start_tls(*arguments))
        transport.close()
        await trace.wait("closing", loop.start_tls(transport, protocol, context,
                                                   ssl_handshake_timeout=SECONDS,
                                                   **CLIENT))
        await settle(loop)


@parity
async def test_tls_over_streams(loop, trace):
    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(
        serve, "127.0.0.1", 0, ssl=certificates.server_context()
    )
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(
        *address, ssl=certificates.client_context(), **CLIENT
    )
    for number in range(10):
        writer.write(b"line %d\n" % number)
        await trace.wait("answer", reader.readline())
    writer.close()
    await trace.wait("closed", writer.wait_closed())
    server.close()
    await server.wait_closed()


@parity
async def test_upgrading_a_stream(loop, trace):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"GO\n")
        await writer.start_tls(certificates.server_context())
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    await trace.wait("answer", reader.readline())
    await writer.start_tls(certificates.client_context(), **CLIENT)
    writer.write(b"a secret\n")
    await trace.wait("answer", reader.readline())
    await trace.wait("end", reader.read())
    writer.close()
    await trace.wait("closed", writer.wait_closed())
    server.close()
    await server.wait_closed()


@parity
async def test_a_peer_that_is_reset_during_tls(loop, trace):
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    async with secured(loop, "tcp", server, client) as (accepted, connected):
        accepted.pause_reading()
        connected.write(b"unread")
        await settle(loop)
        accepted.abort()
        await server.happens("connection_lost")
        await client.happens("connection_lost")
