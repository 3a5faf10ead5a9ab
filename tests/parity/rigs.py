"""One connection of each kind of stream transport, with a far end that a body steers.

A rig has a transport to read from and one to write to; sockets and TLS have one for
both, pipes and subprocesses have two. The far end is a plain socket or two plain
descriptors, except for TLS, where it is a second transport: that one takes what comes
unless it stalls, and answers close() by itself.
"""

import asyncio
import contextlib
import os
import socket
import sys

from . import certificates
from .endpoints import (
    FAMILIES,
    PEER_SECONDS,
    Milestones,
    Recorder,
    connected_sockets,
    in_thread,
    read_exactly,
    read_to_end,
    reset,
    wired,
)
from .tracing import Lane

SOCKETS = FAMILIES
TLS = ("tls", "tls-unix")
TWO_WAY = SOCKETS + TLS
PIPES = ("pipe", "process")
KINDS = TWO_WAY + PIPES


class Rig:
    """The near end under test and the far end that does what it is told."""

    def __init__(self, loop, kind, far, reading, writing):
        self.loop = loop
        self.kind = kind
        self.far = far
        self.reading = reading  # the protocols
        self.writing = writing
        self.process = None

    @property
    def reader(self):
        return self.reading.transport

    @property
    def writer(self):
        return self.writing.transport

    @property
    def ends(self):
        """Each near protocol once."""
        if self.reading is self.writing:
            return [self.reading] * (self.reading is not None)
        return [self.reading, self.writing]

    def forget(self):
        """Let go of the near protocols, whose connections are over."""
        self.reading = self.writing = None

    async def over(self):
        for protocol in self.ends:
            await protocol.happens("connection_lost")

    async def end(self):
        """End whatever still lives."""
        for protocol in self.ends:
            if not protocol.has_happened("connection_lost"):
                transport = protocol.transport
                getattr(transport, "abort", transport.close)()
        await self.over()
        await self.far.gone()


@contextlib.asynccontextmanager
async def connected(loop, kind, trace, near=Recorder):
    """A rig; its protocols are made by near(lane) and write what they see there."""
    if kind in SOCKETS:
        made = over_a_socket(loop, kind, near(trace.lane("near")))
    elif kind in TLS:
        made = over_tls(loop, kind, near(trace.lane("near")))
    else:
        ends = near(trace.lane("reader")), near(trace.lane("writer"))
        made = (over_pipes if kind == "pipe" else over_a_process)(loop, kind, *ends)
    async with made as rig:
        try:
            yield rig
        finally:
            await rig.end()


@contextlib.asynccontextmanager
async def over_a_socket(loop, kind, protocol):
    _, far = await wired(loop, kind, protocol)
    yield Rig(loop, kind, SocketFar(loop, far), protocol, protocol)


@contextlib.asynccontextmanager
async def over_tls(loop, kind, protocol):
    """Near is the client over TCP, and the server over a Unix socket."""
    near, far = connected_sockets("unix" if kind == "tls-unix" else "tcp")
    for sock in (near, far):
        sock.setblocking(False)
    secret = TlsFar(loop)
    ends = [(far, secret), (near, protocol)]
    if kind == "tls-unix":
        ends.reverse()
    (server_sock, server), (client_sock, client) = ends
    connect = loop.create_connection
    if kind == "tls-unix":
        connect = loop.create_unix_connection
    await asyncio.gather(
        loop.connect_accepted_socket(
            lambda: server, server_sock, ssl=certificates.server_context()),
        connect(lambda: client, sock=client_sock, ssl=certificates.client_context(),
                server_hostname=certificates.NAME),
    )
    yield Rig(loop, kind, secret, protocol, protocol)


@contextlib.asynccontextmanager
async def over_pipes(loop, kind, reading, writing):
    from_far, to_near = os.pipe()
    from_near, to_far = os.pipe()
    await loop.connect_read_pipe(lambda: reading, os.fdopen(from_far, "rb", 0))
    await loop.connect_write_pipe(lambda: writing, os.fdopen(to_far, "wb", 0))
    yield Rig(loop, kind, PipeFar(loop, to_near, from_near), reading, writing)


# The child hands its standard input and output to us and waits until it may go.
CHILD = """
import _socket, os
control = _socket.socket(fileno={})
fds = b"".join(fd.to_bytes(4, "little") for fd in (0, 1))
control.sendmsg([b"x"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
os.close(0)
os.close(1)
control.recv(1)
"""


class ProcessAdapter(asyncio.SubprocessProtocol):
    """Tells the protocols of two pipes what happens to the pipes of a process."""

    def __init__(self, reading, writing):
        self.protocols = {0: writing, 1: reading}
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        for fd, protocol in self.protocols.items():
            protocol.connection_made(transport.get_pipe_transport(fd))

    def pipe_data_received(self, fd, data):
        self.protocols[fd].data_received(data)

    def pipe_connection_lost(self, fd, exc):
        self.protocols[fd].connection_lost(exc)

    def pause_writing(self):
        self.protocols[0].pause_writing()

    def resume_writing(self):
        self.protocols[0].resume_writing()

    def connection_lost(self, exc):
        self.over.set_result(exc)


@contextlib.asynccontextmanager
async def over_a_process(loop, kind, reading, writing):
    control, given = socket.socketpair()
    control.settimeout(PEER_SECONDS)
    with control, given:
        transport, adapter = await loop.subprocess_exec(
            lambda: ProcessAdapter(reading, writing), sys.executable, "-I", "-S", "-c",
            CHILD.format(given.fileno()), pass_fds=[given.fileno()], stderr=None)
        given.close()
        _, fds, _, _ = await in_thread(loop, socket.recv_fds, control, 1, 2)
        from_near, to_near = fds
        # The child's own are closed when it waits, so the far end is ours alone.
        rig = Rig(loop, kind, PipeFar(loop, to_near, from_near), reading, writing)
        rig.process = transport
        yield rig
        control.close()
        await adapter.over
        transport.close()


class SocketFar:
    """A blocking socket; what may wait is done in a thread."""

    def __init__(self, loop, sock):
        self.loop = loop
        self.sock = sock

    def stalls(self):
        """Nothing is read by itself here."""

    async def sends(self, data):
        await in_thread(self.loop, self.sock.sendall, data)

    async def reads(self, count):
        return await in_thread(self.loop, read_exactly, self.sock, count)

    async def reads_to_end(self):
        return (await in_thread(self.loop, read_to_end, self.sock))[0]

    async def ends(self):
        self.sock.shutdown(socket.SHUT_WR)

    async def vanishes(self):
        reset(self.sock)

    async def gone(self):
        self.sock.close()


class PipeFar:
    """The two descriptors at the other ends of two pipes, or None where closed."""

    def __init__(self, loop, to_near, from_near):
        self.loop = loop
        os.set_blocking(to_near, True)
        os.set_blocking(from_near, True)
        self.to_near = open(to_near, "wb", buffering=0)
        self.from_near = open(from_near, "rb", buffering=0)

    def stalls(self):
        """Nothing is read by itself here."""

    async def sends(self, data):
        await in_thread(self.loop, self.write_all, data)

    def write_all(self, data):
        view = memoryview(data)
        while view:
            view = view[self.to_near.write(view):]

    async def reads(self, count):
        return await in_thread(self.loop, self.read_all, count)

    async def reads_to_end(self):
        return await in_thread(self.loop, self.read_all, sys.maxsize)

    def read_all(self, count):
        chunks = []
        while count and (chunk := self.from_near.read(min(count, 1 << 16))):
            chunks.append(chunk)
            count -= len(chunk)
        return b"".join(chunks)

    async def ends(self):
        self.to_near.close()

    async def vanishes(self):
        self.to_near.close()
        self.from_near.close()

    gone = vanishes


class TlsFar(Milestones, asyncio.Protocol):
    """A second transport."""

    def __init__(self, loop):
        super().__init__(Lane())
        self.loop = loop
        self.taken = bytearray()

    def data_received(self, data):
        self.taken += data
        self._note_data(data)

    def stalls(self):
        self.transport.pause_reading()

    async def sends(self, data):
        self.transport.write(data)

    async def reads(self, count):
        self.transport.resume_reading()
        await self.receives_or_ends(count)
        data = bytes(self.taken[:count])
        del self.taken[:count]
        self.received_bytes -= len(data)
        return data

    async def reads_to_end(self):
        return await self.reads(sys.maxsize)

    async def ends(self):
        self.transport.close()

    async def vanishes(self):
        self.transport.abort()

    async def gone(self):
        self.transport.abort()
        await self.happens("connection_lost")
