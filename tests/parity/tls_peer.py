"""The far end of a TLS connection, played by the test: it sends any bytes it likes."""

import contextlib
import ctypes
import ssl

import _ssl
import pytest
from uring_loop.net import libssl, tls_trust

from . import certificates
from .endpoints import Recorder, connected_sockets

CHUNK_BYTES = 65536


class Peer:
    """ssl on memory, and a socket that the test's loop serves by sock_* calls."""

    def __init__(self, loop, sock, context, **options):
        self.loop = loop
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **options)

    async def handshake(self):
        await self.until_done(self.tls.do_handshake)

    async def until_done(self, step):
        """Call until it wants to read no more; everything it writes is sent."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.receive()
            else:
                await self.flush()
                return result

    async def flush(self):
        await self.send_raw(self.outgoing.read())

    async def send_raw(self, data):
        await self.loop.sock_sendall(self.sock, data)

    async def receive(self):
        data = await self.loop.sock_recv(self.sock, CHUNK_BYTES)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def records(self, data):
        """The bytes that carry `data`."""
        self.tls.write(data)
        return self.outgoing.read()

    async def send(self, data):
        await self.send_raw(self.records(data))

    def openssl(self, name, *arguments):
        """Call a function of libssl that Python's ssl does not have."""
        offset = tls_trust.verdict().offset
        if offset < 0:
            pytest.skip(f"no way to call {name}: {tls_trust.verdict().reason}")
        address = libssl.pointer_in(self.tls._sslobj, offset)
        function = getattr(ctypes.CDLL(_ssl.__file__), name)
        assert function(ctypes.c_void_p(address), *arguments) == 1

    async def read(self, size):
        found = b""
        while len(found) < size:
            found += await self.until_done(lambda: self.tls.read(CHUNK_BYTES))
        return found


@contextlib.asynccontextmanager
async def served(loop, protocol, server=None, client=None, prepare=None, **options):
    """A protocol as the server of a connection, whose client is a Peer. `prepare` is
    called with it before its handshake."""
    async with _joined(
            loop, protocol, client or certificates.client_context(), prepare,
            {"server_hostname": certificates.NAME},
            lambda near: loop.connect_accepted_socket(
                lambda: protocol, near, ssl=server or certificates.server_context(),
                **options)) as peer:
        yield peer


@contextlib.asynccontextmanager
async def recorded(loop, trace, kind=Recorder, version=None, **options):
    """A recorder as the server of a connection, and the Peer that is its client."""
    server = kind(trace.lane("server"))
    if version is not None:
        options["client"] = client_of(version)
    async with served(loop, server, **options) as peer:
        yield server, peer


@contextlib.asynccontextmanager
async def serving_peer(loop, protocol, server=None, client=None, **options):
    """A protocol as the client of a connection, whose server is a Peer."""
    async with _joined(
            loop, protocol, server or certificates.server_context(), None,
            {"server_side": True},
            lambda near: loop.create_connection(
                lambda: protocol, sock=near, server_hostname=certificates.NAME,
                ssl=client or certificates.client_context(), **options)) as peer:
        yield peer


@contextlib.asynccontextmanager
async def _joined(loop, protocol, context, prepare, options, connect):
    near, far = connected_sockets("tcp")
    near.setblocking(False)
    far.setblocking(False)
    peer = Peer(loop, far, context, **options)
    if prepare is not None:
        prepare(peer)
    with far:
        connecting = loop.create_task(connect(near))
        await peer.handshake()
        await connecting
        try:
            yield peer
        finally:
            protocol.transport.abort()
            await protocol.happens("connection_lost")


def of_version(context, version):
    context.minimum_version = context.maximum_version = version
    return context


def client_of(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates.authority().configure_trust(context)
    return of_version(context, version)
