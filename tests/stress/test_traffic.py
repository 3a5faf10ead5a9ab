"""Two hundred connections with messages of every size, in every mood, both ways."""

import asyncio
import hashlib
import random

import pytest

from ..parity.endpoints import connecting, serving

CONNECTIONS = 200
SIZES = (1, 10, 100, 1000, 5000, 20_000, 70_000)
MESSAGES = 30


class Digest:
    """A count and a hash of one direction of one connection."""

    def __init__(self):
        self.count = 0
        self.hash = hashlib.blake2b(digest_size=16)

    def add(self, data):
        self.count += len(data)
        self.hash.update(data)

    def value(self):
        return self.count, self.hash.hexdigest()


class Moody(asyncio.Protocol):
    """Sends random messages, stutters while reading, ends when both are through."""

    def __init__(self, dice, ends):
        self.dice = dice
        self.ends = ends
        self.sent, self.received = Digest(), Digest()
        self.left = MESSAGES
        self.may_write = True
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=self.dice.choice((0, 1000, 65536)))
        self.speak()

    def speak(self):
        while self.left and self.may_write and not self.transport.is_closing():
            self.left -= 1
            data = self.dice.randbytes(self.dice.choice(SIZES))
            self.sent.add(data)
            self.transport.write(data)
        if not self.left and not self.transport.is_closing():
            self.left = None
            self.transport.write_eof()

    def pause_writing(self):
        self.may_write = False

    def resume_writing(self):
        self.may_write = True
        asyncio.get_running_loop().call_soon(self.speak)

    def data_received(self, data):
        assert self.transport.is_reading(), "data while reading is paused"
        self.received.add(data)
        mood = self.dice.random()
        if mood < 0.2:
            self.transport.pause_reading()
            later = asyncio.get_running_loop().call_later
            later(mood / 1000, self.transport.resume_reading)
        elif mood > 0.999 and self.ends:
            self.ends(self.transport)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class Server(Moody):
    """Goes on after the client's end, and closes once it has sent everything."""

    def eof_received(self):
        self.ended = True
        self.close_when_done()
        return True

    ended = False

    def speak(self):
        super().speak()
        self.close_when_done()

    def close_when_done(self):
        if self.ended and self.left is None:
            self.transport.close()


def abort(transport):
    transport.abort()


def close(transport):
    transport.close()


async def converse(loop, ends):
    """Let all pairs talk; returns (client, server) for each connection."""
    servers = {}

    class Named(Server):
        def connection_made(self, transport):
            servers[transport.get_extra_info("peername")] = self
            super().connection_made(transport)

    def factory():
        return Named(random.Random(len(servers) + 1000), ends)

    async def one(number, address):
        client = Moody(random.Random(number), ends)
        transport, _ = await connecting(loop, "tcp", lambda: client, address)
        name = transport.get_extra_info("sockname")
        await client.lost
        return client, name

    async with serving(loop, "tcp", factory, backlog=CONNECTIONS) as address:
        clients = await asyncio.gather(*(one(n, address) for n in range(CONNECTIONS)))
        for server in servers.values():
            await server.lost
    return [(client, servers[name]) for client, name in clients]


def test_every_byte_arrives_in_order(loop, run):
    pairs = run(converse(loop, None))
    assert len(pairs) == CONNECTIONS
    for client, server in pairs:
        assert client.received.value() == server.sent.value()
        assert server.received.value() == client.sent.value()
        assert client.left is None and server.left is None


@pytest.mark.parametrize("ends", [abort, close])
def test_connections_that_end_in_the_middle(loop, run, ends):
    """What arrived is at most what was sent; every end is told once."""
    for client, server in run(converse(loop, ends)):
        assert client.received.count <= server.sent.count
        assert server.received.count <= client.sent.count
        assert client.lost.done() and server.lost.done()
