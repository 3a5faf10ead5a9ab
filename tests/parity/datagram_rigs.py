"""One datagram endpoint of each kind, and a plain socket as its far end."""

import asyncio
import contextlib
import os
import socket
import tempfile

from .endpoints import PEER_SECONDS, Milestones, in_thread

FAMILIES = {
    "udp4": socket.AF_INET,
    "udp6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
}
UDP = ("udp4", "udp6")
KINDS = tuple(FAMILIES)


class DatagramRecorder(Milestones, asyncio.DatagramProtocol):
    """Writes what happens to it onto a lane; of an address, if it is the far end's."""

    def __init__(self, lane):
        super().__init__(lane)
        self.far_address = None
        self.count = 0

    def datagram_received(self, data, address):
        self.count += 1
        self._note("datagram", data, address == self.far_address)

    def error_received(self, exc):
        self._note("error_received", exc)

    async def receives_datagrams(self, count):
        await self._until(lambda: self.count >= count)


class DatagramRig:
    """The endpoint under test and the far end that does what it is told."""

    def __init__(self, loop, kind, connected, far, protocol):
        self.loop = loop
        self.kind = kind
        self.connected = connected
        self.far = far
        self.far_address = far.getsockname()
        self.protocol = protocol
        self.address = protocol.transport.get_extra_info("sockname")

    @property
    def transport(self):
        return self.protocol.transport

    def sends(self, data):
        """Send to the far end, by name unless the endpoint is connected to it."""
        if self.connected:
            return self.transport.sendto(data)
        return self.transport.sendto(data, self.far_address)

    def far_sends(self, data):
        self.far.sendto(data, self.address)

    async def far_reads(self, count):
        """The next datagrams at the far end."""
        return await in_thread(
            self.loop, lambda: [self.far.recv(1 << 20) for _ in range(count)])


@contextlib.asynccontextmanager
async def endpoint(loop, kind, connected, trace, near=DatagramRecorder):
    """A rig; its protocol is made by near(lane)."""
    family = FAMILIES[kind]
    with contextlib.ExitStack() as stack:
        local, there = names(stack, kind)
        far = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        far.settimeout(PEER_SECONDS)
        far.bind(there)
        protocol = near(trace.lane("near"))
        protocol.far_address = far.getsockname()
        await loop.create_datagram_endpoint(
            lambda: protocol, local_addr=local, family=family,
            remote_addr=remote_address(far) if connected else None)
        rig = DatagramRig(loop, kind, connected, far, protocol)
        try:
            yield rig
        finally:
            if not rig.protocol.has_happened("connection_lost"):
                rig.transport.abort()
                await rig.protocol.happens("connection_lost")


def remote_address(far):
    """As create_datagram_endpoint wants it: host and port, or a path."""
    name = far.getsockname()
    return name[:2] if isinstance(name, tuple) else name


def names(stack, kind):
    """Where the near end and the far end are to be bound."""
    if kind != "unix":
        host = "127.0.0.1" if kind == "udp4" else "::1"
        return (host, 0), (host, 0)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="parity-"))
    return os.path.join(folder, "near"), os.path.join(folder, "far")
