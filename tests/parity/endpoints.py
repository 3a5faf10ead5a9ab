"""Connections for the bodies: protocols that record, and peers that are simple.

A peer is a plain blocking socket wherever the body is about one end only: what
the other end does is then exact, and no second transport shares the blame.
"""

import asyncio
import contextlib
import os
import random
import socket
import struct
import tempfile

from tests.slowness import PATIENCE_SECONDS

# "own" is TCP over a socket that the body made and gave to the loop: it belongs to its
# user, and a loop may not treat it as its own.
FAMILIES = ("tcp", "unix", "own")
PEER_SECONDS = PATIENCE_SECONDS
BUFFER_BYTES = 4096

# The kernel keeps up to twice this at each end: a few MiB never fit at once.
KERNEL_BYTES = 256 << 10


class Milestones:
    """Lets a body wait until an event has happened or data has come."""

    def __init__(self, lane, *, eof_result=None):
        self.lane = lane
        self.eof_result = eof_result
        self.transport = None
        self.received_bytes = 0
        self._happened = set()
        self._waiting = []

    async def happens(self, event):
        await self._until(lambda: event in self._happened)

    def has_happened(self, event):
        return event in self._happened

    async def receives(self, total_bytes):
        await self._until(lambda: self.received_bytes >= total_bytes)

    async def receives_or_ends(self, total_bytes):
        await self._until(lambda: self.received_bytes >= total_bytes
                          or self.has_happened("connection_lost"))

    async def _until(self, condition):
        if condition():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

    def _note(self, event, *details):
        self._happened.add(event)
        self.lane(event, *details)
        self._wake()

    def _note_data(self, chunk):
        self.lane.data(chunk)
        self.received_bytes += len(chunk)
        self._wake()

    def _wake(self):
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    def connection_made(self, transport):
        self.transport = transport
        self._note("connection_made")

    def eof_received(self):
        self._note("eof_received")
        return self.eof_result

    def connection_lost(self, exc):
        self._note("connection_lost", exc)

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")


class Recorder(Milestones, asyncio.Protocol):
    """A Protocol that writes what happens to it onto a lane."""

    def data_received(self, data):
        self._note_data(data)


class BufferedRecorder(Milestones, asyncio.BufferedProtocol):
    """A BufferedProtocol that does the same."""

    def __init__(self, lane, *, eof_result=None, buffer_bytes=BUFFER_BYTES):
        super().__init__(lane, eof_result=eof_result)
        self.buffer = bytearray(buffer_bytes)

    def get_buffer(self, sizehint):
        # asyncio's TLS would lose what it decrypts into a slice of a bytearray.
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes):
        self._note_data(self.buffer[:nbytes])


KINDS = (Recorder, BufferedRecorder)


async def wired(loop, family, protocol, **options):
    """A transport of the loop, and its peer as a blocking socket."""
    if family == "own":
        near, far = connected_sockets("tcp")
        near.setblocking(False)
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=near, **options)
    else:
        with listening(family) as listener:
            transport, _ = await connecting(
                loop, family, lambda: protocol, listener.getsockname(), **options)
            far, _ = listener.accept()
        if not transport.is_closing():
            limit_buffers(transport.get_extra_info("socket"), far)
    far.settimeout(PEER_SECONDS)
    return transport, far


async def as_made_by_the_loop(loop, sock, protocol):
    """A transport as of a socket that the loop made itself: on one that is given by
    `sock=` nothing is in flight, since it is the user's to close."""
    sock.setblocking(False)
    waiter = loop.create_future()
    transport = loop._make_socket_transport(sock, protocol, waiter)
    await waiter
    return transport, protocol


def listening(family):
    """A plain listener. Unix sockets have an abstract name, the same in each body."""
    if family != "unix":
        return socket.create_server(("127.0.0.1", 0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0uring-parity-{os.getpid()}")
    listener.listen()
    return listener


def limit_buffers(near, far):
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)


def connected_sockets(family):
    if family == "unix":
        near, far = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
    limit_buffers(near, far)
    return near, far


@contextlib.asynccontextmanager
async def joined(loop, family, server_protocol, client_protocol, **options):
    """Both ends on the loop: yields the server's and the client's transport."""
    async with serving(loop, family, lambda: server_protocol, **options) as address:
        transport, _ = await connecting(loop, family, lambda: client_protocol, address)
        await server_protocol.happens("connection_made")
        try:
            yield server_protocol.transport, transport
        finally:
            transport.abort()
            server_protocol.transport.abort()
            await server_protocol.happens("connection_lost")
            await client_protocol.happens("connection_lost")


@contextlib.asynccontextmanager
async def serving(loop, family, factory, **options):
    """A server of the loop; yields its address."""
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        if family == "unix":
            path = os.path.join(folder, "socket")
            server = await loop.create_unix_server(factory, path, **options)
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0, **options)
        try:
            yield server.sockets[0].getsockname()
        finally:
            server.close()
            await server.wait_closed()


def connecting(loop, family, factory, address, **options):
    if family == "unix":
        return loop.create_unix_connection(factory, address, **options)
    if family == "own":
        near = socket.create_connection(address)
        near.setblocking(False)
        return loop.create_connection(factory, sock=near, **options)
    return loop.create_connection(factory, *address, **options)


async def closed(server):
    server.close()
    await server.wait_closed()


async def ended(*protocols):
    """Close what these protocols talk through, and wait until they have heard it."""
    for protocol in protocols:
        protocol.transport.close()
        await protocol.happens("connection_lost")


async def settle(loop, rounds=3):
    """Give the loop every chance to deliver what is already there.

    Each round is a byte through another connection: what was sent before it has
    been seen by the loop when the last round is through. It is a TCP connection
    since a busy kernel delivers those later than it does socket pairs.
    """
    near, far = connected_sockets("tcp")
    with near:
        near.setblocking(False)
        for _ in range(rounds):
            seen = loop.create_future()
            loop.add_reader(near, lambda: seen.done() or seen.set_result(None))
            far.send(b"x")
            await seen
            loop.remove_reader(near)
            near.recv(1)
            await asyncio.sleep(0)
        reset(far)  # so that no closed connection lingers in the kernel


def in_thread(loop, function, *args):
    return loop.run_in_executor(None, function, *args)


def read_exactly(peer, total_bytes):
    chunks = []
    while total_bytes:
        chunk = peer.recv(min(total_bytes, 1 << 20))
        if not chunk:
            break
        chunks.append(chunk)
        total_bytes -= len(chunk)
    return b"".join(chunks)


def read_to_end(peer):
    """All bytes until the end of the stream, and the error that ended it."""
    chunks = []
    try:
        while chunk := peer.recv(1 << 20):
            chunks.append(chunk)
    except OSError as exc:
        return b"".join(chunks), exc
    return b"".join(chunks), None


def reset(peer):
    """Close so that the other end is reset, on TCP."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def pattern(total_bytes, seed=1):
    """Bytes in which no piece looks like its neighbour."""
    return random.Random(seed).randbytes(total_bytes)
