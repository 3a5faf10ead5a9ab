"""Records as a peer may send them: of all sizes, in pieces, damaged, out of place."""

import asyncio
import contextlib
import ssl

import pytest

from .endpoints import KINDS, Recorder, pattern, settle
from .engines import tls_engine  # noqa: F401 (all tests run with both engines)
from .framework import parity, promise
from .tls_peer import recorded

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_versions = pytest.mark.parametrize(
    "version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("1.2", "1.3"))

SIZES = (*range(1, 70), 255, 256, 257, 1023, 1024, 4073, 4074, 4095, 4096, 4097,
         16383, 16384)
# Places where records are split, in one test.
CUTS = 500
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"


@both_kinds
@both_versions
@parity
async def test_records_of_all_sizes(loop, trace, kind, version):
    async with recorded(loop, trace, kind, version) as (server, peer):
        for number, size in enumerate(SIZES):
            await peer.send(pattern(size))
            await server.receives(sum(SIZES[:number + 1]))
        # All of them at once, then as one.
        together = b"".join(peer.records(pattern(size)) for size in SIZES)
        await peer.send_raw(together)
        await server.receives(2 * sum(SIZES))
        await peer.send(pattern(70000))
        await server.receives(2 * sum(SIZES) + 70000)
        for size in SIZES:
            server.transport.write(pattern(size))
        back = await peer.read(sum(SIZES))
        trace("back", back == b"".join(map(pattern, SIZES)))


@pytest.mark.parametrize("first", range(1, 2000, CUTS))
@both_kinds
@both_versions
@parity
async def test_records_that_are_split_anywhere(loop, trace, kind, version, first):
    async with recorded(loop, trace, kind, version) as (server, peer):
        sent = 0
        for cut in range(first, first + CUTS):
            records = peer.records(pattern(1400)) + peer.records(pattern(600))
            await peer.send_raw(records[:cut])
            await settle(loop, 2)
            await peer.send_raw(records[cut:])
            sent += 2000
            await server.receives(sent)


@both_kinds
@parity
async def test_bytes_that_come_one_by_one(loop, trace, kind):
    async with recorded(loop, trace, kind) as (server, peer):
        for byte in peer.records(b"slowly") + peer.records(pattern(100)):
            await peer.send_raw(bytes([byte]))
            await settle(loop, 2)
        await server.receives(106)


DAMAGES = {
    "a flipped bit": lambda records: records[:-1] + bytes([records[-1] ^ 1]),
    "a wrong version": lambda records: b"\x17\x09\x09" + records[3:],
    "an unknown type": lambda records: b"\x63" + records[1:],
    "a record that is too long": lambda records: b"\x17\x03\x03\xff\xff" + records[5:],
    "an empty record": lambda records: b"\x17\x03\x03\x00\x00" + records,
    "another protocol": lambda records: b"GET / HTTP/1.1\r\n\r\n" + records,
    "a record sent twice": lambda records: records + records,
    "an alert in clear": lambda records: ALERT + records,
    "a handshake message": lambda records: b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
}


@both_kinds
@both_versions
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("before", (0, 100), ids=("alone", "behind data"))
@parity
async def test_a_damaged_record(loop, trace, kind, version, damage, before):
    async with recorded(loop, trace, kind, version) as (server, peer):
        good = peer.records(pattern(before)) if before else b""
        await peer.send_raw(good + DAMAGES[damage](peer.records(pattern(50))))
        with contextlib.suppress(OSError):
            while await loop.sock_recv(peer.sock, 65536):
                pass
        await server.happens("connection_lost")
        trace("closing", server.transport.is_closing())
        # What is written afterwards is counted and dropped.
        server.transport.write(b"too late")


@both_kinds
@both_versions
@parity
async def test_an_end_in_the_segment_of_the_last_data(loop, trace, kind, version):
    async with recorded(loop, trace, kind, version) as (server, peer):
        records = peer.records(pattern(5000))
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.unwrap()
        await peer.send_raw(records + peer.outgoing.read())
        await server.happens("eof_received")
        await server.happens("connection_lost")


@both_kinds
@parity
async def test_an_end_without_close_notify(loop, trace, kind):
    async with recorded(loop, trace, kind) as (server, peer):
        records = peer.records(pattern(500))
        await peer.send_raw(records + records[:9])
        await server.receives(500)
        peer.sock.close()
        await server.happens("connection_lost")


@both_kinds
@parity
async def test_what_came_during_a_pause_comes_after_it(loop, trace, kind):
    async with recorded(loop, trace, kind) as (server, peer):
        server.transport.pause_reading()
        for size in (10, 3000, 20000):
            await peer.send(pattern(size))
            await settle(loop)
        trace("during", server.received_bytes)
        server.transport.resume_reading()
        await server.receives(23010)


@promise
async def test_a_user_may_read_from_the_ssl_object_in_a_pause(loop, trace):
    async with recorded(loop, trace) as (server, peer):
        server.transport.pause_reading()
        await peer.send(b"for the user")
        tls = server.transport.get_extra_info("ssl_object")
        while not tls._sslobj.pending():
            await settle(loop)
            with contextlib.suppress(ssl.SSLWantReadError):
                assert tls.read(4) == b"for "
        assert tls.read(100) == b"the user"
        await peer.send(b"for the protocol")
        server.transport.resume_reading()
        await server.receives(16)
        tls.write(b"by the user, ")
        server.transport.write(b"by the protocol")
        assert await peer.read(28) == b"by the user, by the protocol"


class ByteArrays(Recorder, asyncio.BufferedProtocol):
    """Offers its bytearray itself, of which a slice is a copy."""

    buffer = bytearray(1000)
    data_received = None

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        assert bytes(self.buffer[:nbytes]) == pattern(nbytes)
        self.received_bytes += nbytes
        self._wake()


@promise
async def test_records_together_fill_a_bytearray(loop, trace, monkeypatch):
    """Not with ssl, whose slices lose what is read into them."""
    monkeypatch.delenv("URING_LOOP_TLS")
    async with recorded(loop, trace, ByteArrays) as (server, peer):
        data = pattern(900)
        await peer.send_raw(b"".join(
            peer.records(data[part:part + 300]) for part in (0, 300, 600)))
        await server.receives(900)
