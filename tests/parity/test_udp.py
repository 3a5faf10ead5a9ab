"""Datagram endpoints: delivery, errors, addresses, arguments, ends."""

import asyncio
import os
import socket
import tempfile

import pytest

from .endpoints import PEER_SECONDS, settle
from .framework import parity, promise


class DatagramRecorder(asyncio.DatagramProtocol):
    """Writes what happens to it onto a lane; senders by what they are called."""

    def __init__(self, lane, names=()):
        self.lane = lane
        self.names = dict(names)
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()
        self.count = 0

    def connection_made(self, transport):
        self.transport = transport
        self.lane("connection_made")

    def datagram_received(self, data, address):
        self.count += 1
        self.lane("datagram", data, self.names.get(address, "unnamed"))

    def error_received(self, exc):
        self.lane("error_received", exc)

    def pause_writing(self):
        self.lane("pause_writing")

    def resume_writing(self):
        self.lane("resume_writing")

    def connection_lost(self, exc):
        self.lane("connection_lost", exc)
        self.lost.set_result(None)

    async def receives(self, count):
        while self.count < count:
            await asyncio.sleep(0)


async def endpoint(loop, lane, **options):
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramRecorder(lane), **options
    )
    return transport, protocol


async def close(*ends):
    for transport, protocol in ends:
        transport.close()
        await protocol.lost


LOCAL = ("127.0.0.1", 0)


@parity
async def test_an_echo(loop, trace):
    server = await endpoint(loop, trace.lane("server"), local_addr=LOCAL)
    address = server[0].get_extra_info("sockname")
    client = await endpoint(loop, trace.lane("client"), remote_addr=address)
    server[1].names[client[0].get_extra_info("sockname")] = "client"
    client[1].names[address] = "server"
    for number, data in enumerate((b"one", b"two", b"x" * 9000), 1):
        client[0].sendto(data)
        await server[1].receives(number)
        server[0].sendto(data.upper(), client[0].get_extra_info("sockname"))
        await client[1].receives(number)
    await close(client, server)


@promise
async def test_datagrams_that_wait_are_received_in_one_iteration(loop, trace):
    """Each wait costs a system call; on asyncio it brings one datagram."""
    iterations = []

    class Noting(DatagramRecorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            iterations.append(loop.statistics().iterations)

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Noting(trace), local_addr=LOCAL)
    # Reading starts an iteration after connection_made().
    await settle(loop)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(transport.get_extra_info("sockname"))
        for number in range(4):
            peer.send(bytes([number]))
        await protocol.receives(4)
    assert len(set(iterations)) == 1
    await close((transport, protocol))


@parity
async def test_many_datagrams_keep_their_order(loop, trace):
    server = await endpoint(loop, trace.lane("server"), local_addr=LOCAL)
    address = server[0].get_extra_info("sockname")
    client = await endpoint(loop, trace.lane("client"), local_addr=LOCAL)
    for number in range(100):
        client[0].sendto(b"%d" % number, address)
        if number % 10 == 9:
            await server[1].receives(number + 1)
    await close(client, server)


@parity
async def test_empty_datagrams(loop, trace):
    """Python 3.13 began to send them."""
    server = await endpoint(loop, trace.lane("server"), local_addr=LOCAL)
    client = await endpoint(
        loop, trace.lane("client"), remote_addr=server[0].get_extra_info("sockname")
    )
    client[0].sendto(b"")
    client[0].sendto(b"full")
    await settle(loop)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", server[0].get_extra_info("sockname"))
        await settle(loop)
    await close(client, server)


@parity
async def test_wrong_sends(loop, trace):
    server = await endpoint(loop, trace.lane("server"), local_addr=LOCAL)
    address = server[0].get_extra_info("sockname")
    client = await endpoint(loop, trace.lane("client"), remote_addr=address)
    trace.call("text", client[0].sendto, "text")
    trace.call("none", client[0].sendto, None)
    trace.call("another address", client[0].sendto, b"x", ("127.0.0.1", 9))
    trace.call("its own address", client[0].sendto, b"x", address)
    trace.call("bytearray", client[0].sendto, bytearray(b"array"))
    trace.call("view", client[0].sendto, memoryview(b"a view"))
    await server[1].receives(3)
    await close(client, server)


@pytest.mark.parametrize("name", ["no address", "too long", "no tuple", "wrong family"])
@parity
async def test_sends_that_the_socket_refuses(loop, trace, name):
    transport, _ = await endpoint(loop, trace.lane("client"), local_addr=LOCAL)
    wrong = {"no address": (b"x",), "too long": (bytes(1 << 20), ("127.0.0.1", 9)),
             "no tuple": (b"x", "127.0.0.1"), "wrong family": (b"x", ("::1", 9))}
    trace.call("sendto", transport.sendto, *wrong[name])
    await settle(loop)
    trace("closing", transport.is_closing())
    transport.abort()
    await settle(loop)


@parity
async def test_nobody_listens(loop, trace):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(LOCAL)
        address = sock.getsockname()
    client = await endpoint(loop, trace.lane("client"), remote_addr=address)
    client[0].sendto(b"x")
    await settle(loop)
    client[0].sendto(b"y")
    await settle(loop)
    await close(client)


@parity
async def test_wrong_arguments(loop, trace):
    async def attempt(label, **options):
        made = loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options)
        await trace.wait(label, made)

    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as sock:
        await attempt("nothing")
        await attempt("a stream socket", sock=stream)
        await attempt("sock and address", sock=sock, local_addr=LOCAL)
        await attempt("sock and family", sock=sock, family=socket.AF_INET)
        await attempt("no tuple", local_addr="127.0.0.1")
        await attempt("a short tuple", local_addr=("127.0.0.1",))
        await attempt("families differ", local_addr=LOCAL, remote_addr=("::1", 1))
        await attempt("a foreign address", local_addr=("192.0.2.1", 0))
        await attempt("wrong family", family=socket.AF_UNIX, local_addr=LOCAL)


@parity
async def test_options(loop, trace):
    transport, protocol = await endpoint(
        loop, trace.lane("client"), local_addr=LOCAL, allow_broadcast=True,
        reuse_port=True,
    )
    sock = transport.get_extra_info("socket")
    for name in ("SO_BROADCAST", "SO_REUSEPORT", "SO_REUSEADDR"):
        trace(name, sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)))
    trace("peername", transport.get_extra_info("peername"))
    trace("limits", transport.get_write_buffer_limits())
    trace("size", transport.get_write_buffer_size(), transport.is_closing())
    trace("repr", repr(transport).startswith("<"))
    await close((transport, protocol))
    trace("closing", transport.is_closing())


@pytest.mark.parametrize("action", ["close", "abort"])
@parity
async def test_sends_after_the_end(loop, trace, action):
    client = await endpoint(loop, trace.lane("client"), local_addr=LOCAL)
    getattr(client[0], action)()
    getattr(client[0], action)()
    for _ in range(7):
        trace.call("sendto", client[0].sendto, b"x", ("127.0.0.1", 9))
    await client[1].lost


@parity
async def test_a_protocol_that_raises(loop, trace):
    class Broken(DatagramRecorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            raise ValueError("broken")

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Broken(trace.lane("server")), local_addr=LOCAL
    )
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.receives(1)
        await settle(loop)
        trace("closing", transport.is_closing())
        transport.close()
        await protocol.lost


@parity
async def test_datagrams_over_unix(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        paths = [os.path.join(folder, name) for name in ("server", "client")]
        server = await endpoint(
            loop, trace.lane("server"), family=socket.AF_UNIX, local_addr=paths[0]
        )
        client = await endpoint(
            loop, trace.lane("client"), family=socket.AF_UNIX, local_addr=paths[1],
            remote_addr=paths[0],
        )
        server[1].names[paths[1]] = "client"
        client[1].names[paths[0]] = "server"
        for number in range(1, 4):
            client[0].sendto(b"question")
            await server[1].receives(number)
            server[0].sendto(b"answer", paths[1])
            await client[1].receives(number)
        await close(client, server)


class Unresumed(DatagramRecorder):
    """Python 3.13's asyncio counts more than it takes off, and never resumes."""

    resumed = False

    def resume_writing(self):
        self.resumed = True


async def fill_a_queue(loop, trace, then):
    def drain(far):
        return [int(far.recv(100)) for _ in range(1000)] == list(range(1000))

    with tempfile.TemporaryDirectory(prefix="parity-") as folder, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as far:
        path = os.path.join(folder, "server")
        far.bind(path)
        far.settimeout(PEER_SECONDS)
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Unresumed(trace.lane("client")), family=socket.AF_UNIX,
            remote_addr=path
        )
        transport.set_write_buffer_limits(high=1000)
        for number in range(1000):
            transport.sendto(b"%5d" % number)
        trace("pending", transport.get_write_buffer_size() > 0)
        then(transport)
        trace("in order", await loop.run_in_executor(None, drain, far))
        return transport, protocol


@parity
async def test_a_full_queue_pauses_and_keeps_the_order(loop, trace):
    _, protocol = await fill_a_queue(loop, trace, lambda transport: transport.close())
    await protocol.lost


@promise
async def test_an_emptied_queue_resumes(loop, trace):
    transport, protocol = await fill_a_queue(loop, trace, lambda transport: None)
    await settle(loop)
    assert protocol.resumed
    assert transport.get_write_buffer_size() == 0
    await close((transport, protocol))


@parity
async def test_closing_inside_the_callback(loop, trace):
    class Closer(DatagramRecorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            self.transport.close()

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Closer(trace.lane("server")), local_addr=LOCAL
    )
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        address = transport.get_extra_info("sockname")
        for _ in range(3):
            sock.sendto(b"x", address)
        await protocol.lost
        await settle(loop)


@parity
async def test_a_socket_with_methods_of_its_own_has_them_called(loop, trace):
    class Shouting(socket.socket):
        def recvfrom(self, size):
            data, address = super().recvfrom(size)
            return data.upper(), address

        def sendto(self, data, address):
            return super().sendto(data + b"!", address)

    loud = Shouting(type=socket.SOCK_DGRAM)
    loud.bind(("127.0.0.1", 0))
    near = await endpoint(loop, trace.lane("near"), sock=loud)
    far = await endpoint(loop, trace.lane("far"), local_addr=("127.0.0.1", 0))
    address = far[0].get_extra_info("sockname")
    near[0].sendto(b"hello", address)
    await far[1].receives(1)
    far[0].sendto(b"to you", loud.getsockname())
    await near[1].receives(1)
    await close(near, far)
