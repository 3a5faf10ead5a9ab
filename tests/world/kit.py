"""What the tests of this folder share: loops, iteration counts, small protocols."""

import asyncio
import contextlib
import os
import socket
import struct

import pytest

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops

STOCK = loops.STOCK
# Both drivers, or the loops that the variable of the parity tests names.
OURS = tuple(os.environ.get("PARITY_LOOPS", "io_uring,epoll").split(","))
EVERY = (STOCK, *OURS)

every_name = pytest.mark.parametrize("loop_name", EVERY)
our_names = pytest.mark.parametrize("loop_name", OURS)
# For promises that asyncio does not make: leaves out the fixture's stock loop.
ours_only = pytest.mark.parametrize("loop", OURS, indirect=True)

PEER_SECONDS = PATIENCE_SECONDS
QUIET_SECONDS = 0.3
# A loop that sleeps makes a handful of iterations in that time, one that spins 10,000.
QUIET_ITERATIONS = 50
# What the kernel is asked to keep at each end of a pair, and more than it then keeps.
KERNEL_BYTES = 128 << 10
MUCH = 4 << 20


class Recorder(asyncio.Protocol):
    """Lists its events; an instance may be waited for until it has lost or got."""

    def __init__(self, keep_open=False):
        self.keep_open = keep_open
        self.events = []
        self.data = b""
        self.transport = None
        self.changed = asyncio.Event()

    def note(self, *event):
        self.events.append(event)
        self.changed.set()

    def connection_made(self, transport):
        self.transport = transport
        self.changed.set()

    def data_received(self, data):
        self.data += data
        self.changed.set()

    def eof_received(self):
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc):
        self.note("lost", type(exc))

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def lost(self):
        await self.until(lambda: self.events and self.events[-1][0] == "lost")
        return self.events[-1][1]

    async def got(self, size):
        await self.until(lambda: len(self.data) >= size)
        return self.data


def iterations_of(loop):
    """A function that tells how many iterations the loop has made so far."""
    if hasattr(loop, "statistics"):
        return lambda: loop.statistics().iterations
    run_once, count = loop._run_once, 0

    def counting():
        nonlocal count
        count += 1
        run_once()

    loop._run_once = counting
    return lambda: count


async def quiet_iterations(loop):
    """How many iterations the loop makes while nothing happens."""
    count = iterations_of(loop)
    await asyncio.sleep(0.05)   # what has been started comes to rest
    before = count()
    await asyncio.sleep(QUIET_SECONDS)
    return count() - before


async def turns(count=3):
    """Let everything that is ready run, `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def tcp_pair():
    """Two ends of a TCP connection over the loopback, both blocking with a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return prepared(near, far)


def unix_pair():
    return prepared(*socket.socketpair())


def prepared(near, far):
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    return with_timeout(near), with_timeout(far)


PAIRS = {"tcp": tcp_pair, "unix": unix_pair}
every_pair = pytest.mark.parametrize("family", PAIRS)


def with_timeout(sock):
    sock.settimeout(PEER_SECONDS)
    return sock


async def wired(loop, family, factory=Recorder):
    """(transport, protocol, far): far is the other end, a blocking socket."""
    near, far = PAIRS[family]()
    near.setblocking(False)
    transport, protocol = await loop.create_connection(factory, sock=near)
    return transport, protocol, far


def reset(sock):
    """Close so that the peer is reset instead of told the end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def blocking(function, *args):
    """Call what blocks beside the loop; its result."""
    return await asyncio.to_thread(function, *args)


def read_all(sock):
    """Everything up to the end of the stream."""
    data = b""
    while part := sock.recv(1 << 20):
        data += part
    return data


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"ended after {data!r}"
        data += part
    return data


async def gone(task):
    """Cancel it and wait until it has ended, however it ends."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await task
