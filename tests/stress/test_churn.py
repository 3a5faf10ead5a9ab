"""Connections by the thousand that open, say little, and go."""

import asyncio
import socket
import struct

import pytest

from ..parity import loops
from ..parity.endpoints import connecting, serving

CONNECTIONS = 2000
AT_ONCE = 50

# Ports of one address run out under churn: the source goes round 127.0.0.x.
SOURCES = 20

RESET = struct.pack("ii", 1, 0)


class Counter(asyncio.Protocol):
    """A server that answers once and counts its beginnings and ends."""

    made = lost = 0

    def connection_made(self, transport):
        self.transport = transport
        type(self).made += 1

    def data_received(self, data):
        self.transport.write(data[::-1])

    def connection_lost(self, exc):
        type(self).lost += 1


class Once(asyncio.Protocol):
    """A client that asks, takes the answer, and ends in one of four ways."""

    def __init__(self, how):
        self.how = how
        self.answer = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"question")
        if self.how == "close at once":
            transport.close()

    def data_received(self, data):
        self.answer += data
        if len(self.answer) == 8:
            if self.how == "reset":
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            getattr(self.transport, "abort" if self.how == "abort" else "close")()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("how", ["close", "abort", "reset", "close at once"])
def test_churn(loop, run, how):
    async def worker(number, address):
        source = (f"127.0.0.{1 + number % SOURCES}", 0)
        for _ in range(CONNECTIONS // AT_ONCE):
            client = Once(how)
            await connecting(
                loop, "tcp", lambda: client, address, local_addr=source
            )
            assert await client.lost is None
            assert client.answer == (b"" if how == "close at once" else b"noitseuq")

    class Mine(Counter):
        """The counters of this run."""

    async def churn():
        async with serving(loop, "tcp", Mine, backlog=200) as address:
            await asyncio.gather(*(worker(n, address) for n in range(AT_ONCE)))
            while Mine.made < CONNECTIONS or Mine.lost < CONNECTIONS:
                await asyncio.sleep(0)
        return Mine.made, Mine.lost

    assert run(churn()) == (CONNECTIONS, CONNECTIONS)


def test_connection_attempts_that_are_cancelled(loop, run):
    """Cancelled at every stage: before, within and after the connect."""

    async def attempt(number, address):
        made = asyncio.ensure_future(
            connecting(loop, "tcp", lambda: Once("abort"), address)
        )
        for _ in range(number % 6):
            await asyncio.sleep(0)
        made.cancel()
        try:
            transport, client = await made
        except asyncio.CancelledError:
            return 1
        transport.abort()
        await client.lost
        return 0

    class Mine(Counter):
        """The counters of this run."""

    async def churn():
        async with serving(loop, "tcp", Mine, backlog=200) as address:
            cancelled = 0
            for number in range(500):
                cancelled += await attempt(number, address)
            # Accepted last of all: whoever still waited in the queue came before.
            last = Once("close")
            await connecting(loop, "tcp", lambda: last, address)
            await last.lost
            while Mine.lost < Mine.made:
                await asyncio.sleep(0)
            return cancelled

    assert run(churn()) > 0


def test_servers_that_come_and_go(loop, run):
    async def churn():
        for _ in range(200):
            async with serving(loop, "tcp", Counter) as address:
                client = Once("close")
                await connecting(loop, "tcp", lambda: client, address)
                await client.lost

    run(churn())


def test_loops_that_come_and_go(loop, run, request):
    name = request.node.callspec.params["loop"]
    for _ in range(100):
        fresh = loops.new(name)
        assert fresh.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
        fresh.close()


def test_a_loop_for_each_of_five_thousand_tests(loop, run, request):
    """As a test-suite makes them: little work, no rest, nothing left behind."""
    name = request.node.callspec.params["loop"]

    async def one_test(number):
        near, far = socket.socketpair()
        with far:
            _, client = await connecting(
                fresh, "unix", lambda: Once("close"), None, sock=near
            )
            client.transport.write(b"%d" % number)
            far.setblocking(False)
            assert far.recv(100).endswith(b"%d" % number)
            far.sendall(b"8 bytes.")
            assert await client.lost is None

    for number in range(5000):
        fresh = loops.new(name)
        fresh.run_until_complete(one_test(number))
        fresh.close()
