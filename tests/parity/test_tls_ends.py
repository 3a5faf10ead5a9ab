"""How TLS begins and ends: certificates, protocols, time limits, and rude peers."""

import asyncio
import socket
import ssl

import pytest

from . import certificates
from .endpoints import (
    PEER_SECONDS,
    Recorder,
    closed,
    connected_sockets,
    connecting,
    ended,
    in_thread,
    pattern,
    serving,
    settle,
)
from .framework import parity

CLIENT = {"server_hostname": certificates.NAME}
MUCH = 10 << 20

both_ends = pytest.mark.parametrize("near_is", ["client", "server"])


async def near_and_blocking(loop, near_is, protocol, **options):
    """A TLS transport whose other end is a blocking TLS socket."""
    near, far = connected_sockets("tcp")
    near.setblocking(False)
    far.settimeout(PEER_SECONDS)
    if near_is == "client":
        context, extra = certificates.server_context(), {"server_side": True}
        made = loop.create_connection(
            lambda: protocol, sock=near, ssl=certificates.client_context(),
            **CLIENT, **options)
    else:
        context, extra = certificates.client_context(), CLIENT
        made = loop.connect_accepted_socket(
            lambda: protocol, near, ssl=certificates.server_context(), **options)
    wrapping = in_thread(loop, lambda: context.wrap_socket(far, **extra))
    _, secure = await asyncio.gather(made, wrapping)
    return secure


@pytest.mark.parametrize("known", [True, False])
@parity
async def test_certificates_of_clients(loop, trace, known):
    served = Recorder(trace.lane("server"))
    context = certificates.server_context_for_clients()
    async with serving(loop, "tcp", lambda: served, ssl=context) as address:
        client = Recorder(trace.lane("client"))
        ours = (certificates.client_context_with_certificate() if known
                else certificates.client_context())
        await connecting(loop, "tcp", lambda: client, address, ssl=ours, **CLIENT)
        if not known:
            # With TLS 1.3 a client learns after its own handshake that it is refused.
            client.lane = trace.lane("refused client")
            await client.happens("connection_lost")
            return
        await served.happens("connection_made")
        peer = served.transport.get_extra_info("peercert")
        trace("client's name", str(peer["subjectAltName"]))
        for end in (client, served):
            tls = end.transport.get_extra_info("ssl_object")
            trace("protocol", tls.selected_alpn_protocol())
        await ended(client)
        await served.happens("connection_lost")


@both_ends
@parity
async def test_close_ends_when_the_peer_has_answered(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol)
    with peer:
        protocol.transport.write(b"last words")
        protocol.transport.close()
        unwrapping = in_thread(loop, lambda: (peer.recv(100), peer.unwrap().close()))
        await protocol.happens("connection_lost")
        trace("peer got", (await unwrapping)[0])


@both_ends
@parity
async def test_a_silent_peer_is_waited_for_so_long(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol, ssl_shutdown_timeout=0.02)
    with peer:
        protocol.transport.close()
        await protocol.happens("connection_lost")
        trace("closing", protocol.transport.is_closing())


@both_ends
@parity
async def test_a_peer_that_closes_is_not_waited_for(loop, trace, near_is):
    """Half a minute is the default limit, which no test would sit out."""
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol)
    await in_thread(loop, lambda: peer.unwrap().close())
    await protocol.happens("connection_lost")
    peer.close()


@both_ends
@parity
async def test_an_end_without_close_notify(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol)
    peer.sendall(b"cut off here")
    await protocol.receives(12)
    with socket.socket(fileno=peer.detach()) as bare:
        bare.shutdown(socket.SHUT_WR)
        await protocol.happens("connection_lost")


@both_ends
@parity
async def test_an_end_without_close_notify_while_closing(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol)
    with socket.socket(fileno=peer.detach()) as bare:
        protocol.transport.close()
        await settle(loop)
        bare.shutdown(socket.SHUT_WR)
        await protocol.happens("connection_lost")


@both_ends
@parity
async def test_garbage_after_the_handshake(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    peer = await near_and_blocking(loop, near_is, protocol)

    def lost(exc):
        protocol._note("connection_lost", type(exc))  # its text is OpenSSL's

    protocol.connection_lost = lost
    with socket.socket(fileno=peer.detach()) as bare:
        bare.sendall(b"this is no TLS record at all" * 10)
        await protocol.happens("connection_lost")


@both_ends
@parity
async def test_ten_mebibytes_both_ways_at_once(loop, trace, near_is):
    protocol = Recorder(trace.lane("near"))
    protocol.pause_writing = protocol.resume_writing = lambda: None
    peer = await near_and_blocking(loop, near_is, protocol)
    data = pattern(MUCH)

    def talk():
        """Reads as much as it writes, piece by piece: a TLS socket is one thread's."""
        received = 0
        for start in range(0, MUCH, 1 << 16):
            peer.sendall(data[start:start + (1 << 16)])
            goal = start + (1 << 16)
            while received < goal:
                received += len(peer.recv(goal - received))
        return received

    talking = in_thread(loop, talk)
    protocol.transport.write(data)
    await protocol.receives(MUCH)
    trace("peer got", await talking)
    peer.close()
    await protocol.happens("connection_lost")


@parity
async def test_a_client_that_never_shakes_hands(loop, trace):
    served = Recorder(trace.lane("server"))
    async with serving(loop, "tcp", lambda: served, ssl=certificates.server_context(),
                       ssl_handshake_timeout=0.02) as address:
        with socket.create_connection(address) as peer:
            peer.settimeout(PEER_SECONDS)
            trace("peer got", await in_thread(loop, peer.recv, 100))


@parity
async def test_an_accepted_socket_that_never_shakes_hands(loop, trace):
    near, far = connected_sockets("tcp")
    with far:
        made = loop.connect_accepted_socket(
            asyncio.Protocol, near, ssl=certificates.server_context(),
            ssl_handshake_timeout=0.02)
        await trace.wait("handshake", made)


@pytest.mark.parametrize("family", ["tcp", "unix"])
@parity
async def test_the_shutdown_timeout_of_a_server(loop, trace, family):
    served = Recorder(trace.lane("server"))
    kind = socket.AF_UNIX if family == "unix" else socket.AF_INET
    async with serving(loop, family, lambda: served, ssl=certificates.server_context(),
                       ssl_shutdown_timeout=0.02) as address:
        sock = socket.socket(kind)
        sock.settimeout(PEER_SECONDS)
        await in_thread(loop, sock.connect, address)
        context = certificates.client_context()
        with await in_thread(loop, lambda: context.wrap_socket(sock, **CLIENT)):
            await served.happens("connection_made")
            served.transport.close()
            await served.happens("connection_lost")


@parity
async def test_a_connection_made_that_raises(loop, trace):
    class Broken(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise ValueError("broken")

    server = await loop.create_server(
        lambda: Recorder(trace.lane("server")), "127.0.0.1", 0,
        ssl=certificates.server_context())
    client = Broken(trace.lane("client"))
    made = connecting(loop, "tcp", lambda: client, server.sockets[0].getsockname(),
                      ssl=certificates.client_context(), **CLIENT)
    await trace.wait("connect", made)
    await settle(loop)
    await closed(server)


# ---- start_tls --------------------------------------------------------------------


async def two_plain(loop, trace):
    """Two plain transports of the loop, connected with each other."""
    near, far = connected_sockets("tcp")
    ends = Recorder(trace.lane("near")), Recorder(trace.lane("far"))
    for sock, protocol in zip((near, far), ends, strict=True):
        sock.setblocking(False)
        await loop.create_connection(lambda: protocol, sock=sock)
    return ends


async def upgrade(loop, protocol, server_side, **options):
    name = None if server_side else certificates.NAME
    context = (certificates.server_context() if server_side
               else certificates.client_context())
    protocol.transport = await loop.start_tls(
        protocol.transport, protocol, context, server_side=server_side,
        server_hostname=name, **options)


@pytest.mark.parametrize("near_serves", [False, True])
@parity
async def test_start_tls_in_both_roles(loop, trace, near_serves):
    near, far = await two_plain(loop, trace)
    await asyncio.gather(
        upgrade(loop, near, near_serves, ssl_handshake_timeout=PEER_SECONDS,
                ssl_shutdown_timeout=PEER_SECONDS),
        upgrade(loop, far, not near_serves))
    near.transport.write(pattern(300_000))
    far.transport.write(pattern(200_000, 2))
    await near.receives(200_000)
    await far.receives(300_000)
    trace("protocol", near.transport.get_protocol() is near)
    near.transport.close()
    await near.happens("connection_lost")
    await far.happens("connection_lost")


@parity
async def test_start_tls_with_nobody_answering(loop, trace):
    near, far = await two_plain(loop, trace)
    far.transport.pause_reading()
    await trace.wait("upgrade", upgrade(loop, near, False, ssl_handshake_timeout=0.02))
    await settle(loop)
    trace("closing", near.transport.is_closing())
    far.transport.abort()
    await far.happens("connection_lost")


@parity
async def test_start_tls_cancelled(loop, trace):
    near, far = await two_plain(loop, trace)
    far.transport.pause_reading()
    upgrading = asyncio.ensure_future(upgrade(loop, near, False))
    await settle(loop)
    upgrading.cancel()
    await asyncio.wait([upgrading])
    trace("cancelled", upgrading.cancelled())
    await settle(loop)
    trace("closing", near.transport.is_closing())
    near.transport.abort()
    far.transport.abort()
    await far.happens("connection_lost")


@parity
async def test_start_tls_with_a_stranger(loop, trace):
    near, far = await two_plain(loop, trace)
    serving_side = asyncio.ensure_future(upgrade(loop, far, True))
    made = loop.start_tls(near.transport, near, certificates.distrusting_context(),
                          server_hostname=certificates.NAME)
    try:
        await made
    except ssl.SSLCertVerificationError as exc:
        trace("refused", exc.verify_message)
    try:
        await serving_side
    except OSError as exc:
        trace("the other side", isinstance(exc, (ssl.SSLError, ConnectionError)))
    await settle(loop)
    trace("closing", near.transport.is_closing(), far.transport.is_closing())
