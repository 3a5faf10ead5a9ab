"""What TLS does behind the first handshake: certificates on request, new keys, and the
handshakes of TLS 1.2 that follow the first.
"""

import ssl

import pytest

from . import certificates
from .endpoints import KINDS, Recorder, pattern
from .engines import tls_engine  # noqa: F401 (all tests run with both engines)
from .framework import parity
from .tls_peer import of_version, served, serving_peer

both_kinds = pytest.mark.parametrize("kind", KINDS)
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
ROUNDS = 20
UPDATE_REQUESTED = 1
# Of OpenSSL 3; CPython names it since 3.12 only.
ALLOW_CLIENT_RENEGOTIATION = 1 << 8


def demanding(version=V13, mode=ssl.CERT_REQUIRED):
    """A server that asks for certificates behind the handshake."""
    context = certificates.server_context_for_clients()
    context.verify_mode = mode
    context.post_handshake_auth = True
    return of_version(context, version)


def asked(certificate=True, version=V13, answers=True):
    """A client that may be asked."""
    context = (certificates.client_context_with_certificate() if certificate
               else new_client())
    context.post_handshake_auth = answers
    return of_version(context, version)


def new_client():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates.authority().configure_trust(context)
    return context


def new_server(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority().issue_cert(certificates.NAME).configure_cert(context)
    return of_version(context, version)


def outcome(call):
    try:
        return call()
    except (ssl.SSLError, ValueError) as exc:
        return type(exc).__name__, getattr(exc, "reason", None)


def name_in(certificate):
    return certificate and str(certificate.get("subjectAltName"))


# ---- certificates on request


@both_kinds
@parity
async def test_a_server_asks_for_a_certificate(loop, trace, kind):
    server = kind(trace.lane("server"))
    async with served(loop, server, server=demanding(), client=asked()) as peer:
        tls = server.transport.get_extra_info("ssl_object")
        await peer.send(b"before")
        await server.receives(6)
        trace("at first", name_in(tls.getpeercert()))
        trace("asked", outcome(tls.verify_client_post_handshake))
        # The request leaves with the next data.
        server.transport.write(b"who are you?")
        trace("peer got", await peer.read(12))
        await peer.send(b"after")
        await server.receives(11)
        trace("now", name_in(tls.getpeercert()))
        trace("extra info", server.transport.get_extra_info("peercert"))
        server.transport.write(pattern(100_000))
        trace("data", await peer.read(100_000) == pattern(100_000))


@pytest.mark.parametrize("mode", (ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL))
@parity
async def test_a_client_has_no_certificate_to_show(loop, trace, mode):
    server = Recorder(trace.lane("server"))
    async with served(loop, server, server=demanding(mode=mode),
                      client=asked(certificate=False)) as peer:
        tls = server.transport.get_extra_info("ssl_object")
        tls.verify_client_post_handshake()
        server.transport.write(b"who are you?")
        trace("peer got", await peer.read(12))
        await peer.send(b"nobody")
        if mode == ssl.CERT_OPTIONAL:
            await server.receives(6)
            trace("certificate", tls.getpeercert())
        else:
            await server.happens("connection_lost")
            trace("closing", server.transport.is_closing())


@parity
async def test_who_cannot_be_asked(loop, trace):
    for label, client, version in (
            ("does not offer it", asked(answers=False), V13),
            ("speaks TLS 1.2", asked(version=V12), V12)):
        server = Recorder(trace.lane(label))
        async with served(loop, server, client=client,
                          server=demanding(version=version)) as peer:
            tls = server.transport.get_extra_info("ssl_object")
            trace(label, outcome(tls.verify_client_post_handshake))
            # The connection goes on as if nothing had been asked.
            server.transport.write(b"well then")
            trace(label, await peer.read(9))
            await peer.send(b"yes")
            await server.receives(3)


@both_kinds
@parity
async def test_a_client_is_asked(loop, trace, kind):
    client = kind(trace.lane("client"))
    async with serving_peer(loop, client, server=demanding(), client=asked()) as peer:
        trace("at first", name_in(peer.tls.getpeercert()))
        peer.tls.verify_client_post_handshake()
        await peer.send(pattern(20_000))
        await client.receives(20_000)
        # The answer left without a write of the application.
        client.transport.write(b"it was me")
        trace("peer got", await peer.read(9))
        trace("now", name_in(peer.tls.getpeercert()))
        trace("by the client", outcome(client.transport.get_extra_info(
            "ssl_object").verify_client_post_handshake))


# ---- new keys


@pytest.mark.parametrize("near_serves", (True, False))
@both_kinds
@parity
async def test_new_keys_at_each_message(loop, trace, kind, near_serves):
    near = kind(trace.lane("near"))
    joined = served if near_serves else serving_peer
    async with joined(loop, near) as peer:
        received = 0
        for number in range(ROUNDS):
            peer.openssl("SSL_key_update", UPDATE_REQUESTED)
            size = 1 + number * 3000
            await peer.send(pattern(size))
            received += size
            await near.receives(received)
            near.transport.write(pattern(2 * size, number))
            trace("back", await peer.read(2 * size) == pattern(2 * size, number))


@parity
async def test_new_keys_are_asked_for_during_a_pause(loop, trace):
    near = Recorder(trace.lane("near"))
    async with served(loop, near) as peer:
        near.transport.pause_reading()
        for number in range(ROUNDS):
            peer.openssl("SSL_key_update", UPDATE_REQUESTED)
            await peer.send(b"x" * 10)
            near.transport.write(b"y" * 1000)
        trace("peer got", len(await peer.read(1000 * ROUNDS)))
        near.transport.resume_reading()
        await near.receives(10 * ROUNDS)
        near.transport.write(b"done")
        trace("then", await peer.read(4))


# ---- the next handshake of TLS 1.2


async def shake_again(peer, near, number):
    """Another handshake that the peer begins, then data from the other end."""
    peer.openssl("SSL_renegotiate")
    await peer.handshake()
    near.transport.write(b"%5d" % number)
    return await peer.read(5)


@both_kinds
@parity
async def test_a_server_begins_another_handshake(loop, trace, kind):
    client = kind(trace.lane("client"))
    async with serving_peer(loop, client, server=new_server(V12)) as peer:
        for number in range(ROUNDS):
            trace("again", await shake_again(peer, client, number))
            # The client takes part when it has read the wish: with the next data.
            await peer.send(b"%5d" % number)
            await client.receives(5 * (number + 1))
            client.transport.write(pattern(40_000, number))
            trace("back", await peer.read(40_000) == pattern(40_000, number))


@pytest.mark.parametrize("allowed", (True, False))
@parity
async def test_a_client_begins_another_handshake(loop, trace, allowed):
    context = new_server(V12)
    if allowed:
        context.options |= ALLOW_CLIENT_RENEGOTIATION
        context.options &= ~ssl.OP_NO_RENEGOTIATION
    server = Recorder(trace.lane("server"))
    async with served(loop, server, server=context) as peer:
        await peer.send(b"first")
        await server.receives(5)
        if not allowed:
            peer.openssl("SSL_renegotiate")
            try:
                await peer.handshake()
            except ssl.SSLError as exc:
                trace("refused", exc.reason)
            return
        for number in range(ROUNDS):
            trace("again", await shake_again(peer, server, number))
            await peer.send(pattern(100, number))
            await server.receives(5 + 100 * (number + 1))
