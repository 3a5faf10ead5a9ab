"""What is written over TLS while the socket is full: sizes, pauses, and the order."""

import ssl
import time

import pytest

from . import certificates
from .company import ATTEMPT_SECONDS
from .endpoints import Recorder, connecting, pattern, serving, settle
from .engines import tls_engine  # noqa: F401 (all tests run with both engines)
from .framework import parity, promise
from .tls_peer import client_of, recorded

both_versions = pytest.mark.parametrize(
    "version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))
PIECE = 65536
# More than the socket takes, by far.
PIECES = 200
SIZES = (1, 100, 16383, 16384, 16385, 40_000, PIECE, 300_000)


def below(transport):
    """The transport of the socket."""
    return transport._ssl_protocol._transport


async def filled(server):
    """Write until the transport below pauses its TLS; how much that was."""
    written = 0
    while not server.transport._ssl_protocol._ssl_writing_paused:
        server.transport.write(pattern(PIECE, written))
        below(server.transport).get_write_buffer_size()
        written += PIECE
    return written


async def check_sizes(loop, trace, server, peer):
    written = await filled(server)
    before = server.transport.get_write_buffer_size()
    for size in SIZES:
        server.transport.write(pattern(size))
        after = server.transport.get_write_buffer_size()
        trace("one more", size, after - before)
        before = after
    trace("pauses", server.has_happened("pause_writing"))
    written += sum(SIZES)
    trace("all came", len(await peer.read(written)) == written)
    await settle(loop)
    trace("left", server.transport.get_write_buffer_size())
    trace("resumed", server.has_happened("resume_writing"))


@both_versions
@parity
async def test_sizes_while_the_socket_is_full(loop, trace, version):
    async with recorded(loop, trace, version=version) as (server, peer):
        await check_sizes(loop, trace, server, peer)


@parity
async def test_sizes_with_a_cipher_that_pads(loop, trace):
    client = client_of(ssl.TLSVersion.TLSv1_2)
    client.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
    async with recorded(loop, trace, client=client) as (server, peer):
        trace("cipher", server.transport.get_extra_info("cipher"))
        await check_sizes(loop, trace, server, peer)


@parity
async def test_sizes_of_short_records(loop, trace):
    """The client asks for records of 512 bytes."""
    async with recorded(
            loop, trace, prepare=lambda peer: peer.openssl(
                "SSL_set_tlsext_max_fragment_length", 1)) as (server, peer):
        await check_sizes(loop, trace, server, peer)


@pytest.mark.parametrize("how", ("write", "writelines", "memoryview", "bytearray"))
@both_versions
@parity
async def test_short_and_long_ones_stay_in_order(loop, trace, version, how):
    async with recorded(loop, trace, version=version) as (server, peer):
        server.pause_writing = server.resume_writing = lambda: None
        data = b""
        for number in range(PIECES):
            piece = pattern((7, 100, 20_000, PIECE, 16_384)[number % 5], number)
            data += piece
            if how == "writelines":
                server.transport.writelines([piece[:50], piece[50:]])
            else:
                server.transport.write(
                    {"memoryview": memoryview, "bytearray": bytearray}.get(
                        how, bytes)(piece))
        trace("in order", await peer.read(len(data)) == data)


@both_versions
@parity
async def test_limits_decide_when_tls_pauses(loop, trace, version):
    async with recorded(loop, trace, version=version) as (server, peer):
        written = await filled(server)
        server.transport.write(bytes(PIECE))
        written += PIECE
        size = server.transport.get_write_buffer_size()
        for high in (size + 1, size):
            server.transport.set_write_buffer_limits(high=high, low=10)
            server.lane("after limit")
        trace("size", size > 0)
        await peer.read(written)
        await server.happens("resume_writing")


@parity
async def test_an_abort_forgets_what_waits(loop, trace):
    async with recorded(loop, trace) as (server, _):
        await filled(server)
        for _ in range(20):
            server.transport.write(bytes(PIECE))
        protocol = server.transport._ssl_protocol
        server.transport.abort()
        await server.happens("connection_lost")
        trace("left", protocol._get_write_buffer_size())


@parity
async def test_a_close_sends_what_waits(loop, trace):
    async with recorded(loop, trace) as (server, peer):
        written = await filled(server)
        for _ in range(5):
            server.transport.write(bytes(PIECE))
        server.transport.close()
        size = written + 5 * PIECE
        trace("all came", len(await peer.read(size)) == size)
        trace("then", await peer.until_done(lambda: peer.tls.read(1)))


@promise
async def test_what_a_user_writes_to_the_ssl_object_comes_between(loop, trace):
    async with recorded(loop, trace) as (server, peer):
        written = await filled(server)
        server.transport.write(pattern(PIECE, 1))
        server.transport.get_extra_info("ssl_object").write(b"by the user")
        server.transport.write(pattern(PIECE, 2))
        data = (await peer.read(written + 2 * PIECE + 11))[written:]
        assert data == pattern(PIECE, 1) + b"by the user" + pattern(PIECE, 2)


@promise
async def test_long_writes_of_a_callback_leave_together(loop, trace):
    """By habit: see net/gather.pyx. Up to a limit that is higher than without TLS."""
    server, client = Recorder(trace.lane("server")), Recorder(trace.lane("client"))
    async with serving(loop, "tcp", lambda: server,
                       ssl=certificates.server_context()) as address:
        await connecting(loop, "tcp", lambda: client, address,
                         ssl=certificates.client_context(),
                         server_hostname=certificates.NAME)
        await server.happens("connection_made")

        def sent_by_writes(count):
            before = loop.statistics().sent_bytes
            for _ in range(count):
                server.transport.write(bytes(PIECE))
            return loop.statistics().sent_bytes - before

        end, rounds = time.monotonic() + ATTEMPT_SECONDS, 0
        while True:
            rounds += 1
            for _ in range(6):
                sent_by_writes(2)
                await settle(loop)
            # Slow callbacks of a busy machine turn it off for a while.
            if sent_by_writes(4) == 0:
                break
            assert time.monotonic() < end, "each write was sent at once"
            await settle(loop)
        await settle(loop)
        assert sent_by_writes(6) > 4 * PIECE
        await client.receives((rounds * (2 * 6 + 4) + 6) * PIECE)
        for protocol in (server, client):
            protocol.transport.abort()
            await protocol.happens("connection_lost")
