"""What `bench` measures: each body yields a coroutine function that does some work and
returns how many operations that was."""

import asyncio
import contextlib
import socket
import struct

HOST = "127.0.0.1"
MESSAGE = b"x" * 64
# Reset instead of the usual end: no port stays in TIME_WAIT, of which there are few.
RESET = struct.pack("ii", 1, 0)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Pinger(asyncio.Protocol):
    """Sends a message each time one has come back, `left` times."""

    def __init__(self):
        self.left, self.received, self.done = 0, 0, None

    def connection_made(self, transport):
        self.transport = transport

    def start(self, count):
        self.left = count
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(MESSAGE)
        return self.done

    def data_received(self, data):
        self.received += len(data)
        if self.received < len(MESSAGE):
            return
        self.received = 0
        self.left -= 1
        if self.left:
            self.transport.write(MESSAGE)
        else:
            self.done.set_result(None)

    def connection_lost(self, exc):
        if self.done is not None and not self.done.done():
            self.done.set_exception(exc or ConnectionError("the peer has gone"))


@contextlib.asynccontextmanager
async def serving():
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def echo(connections):
    loop = asyncio.get_running_loop()
    async with serving() as address:
        ends = [await loop.create_connection(Pinger, *address)
                for _ in range(connections)]

        async def batch(count=200):
            await asyncio.gather(*(
                pinger.start(count // connections or 1) for _, pinger in ends))
            return connections * (count // connections or 1)

        try:
            yield batch
        finally:
            for transport, _ in ends:
                transport.close()
            await asyncio.sleep(0.01)       # the server's ends hear of it


def nothing():
    pass


@contextlib.asynccontextmanager
async def call_soon():
    loop = asyncio.get_running_loop()

    async def batch(rounds=10, count=200):
        for _ in range(rounds):
            for _ in range(count):
                loop.call_soon(nothing)
            await asyncio.sleep(0)
        return rounds * count

    yield batch


async def turn():
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def tasks():
    async def batch(count=500):
        await asyncio.gather(*(turn() for _ in range(count)))
        return count

    yield batch


@contextlib.asynccontextmanager
async def timers():
    loop = asyncio.get_running_loop()

    async def batch(rounds=5, count=200):
        for _ in range(rounds):
            for handle in [loop.call_later(60, nothing) for _ in range(count)]:
                handle.cancel()
            await asyncio.sleep(0)
        return rounds * count

    yield batch


@contextlib.asynccontextmanager
async def connect():
    loop = asyncio.get_running_loop()
    async with serving() as address:

        async def batch(count=20):
            for _ in range(count):
                transport, pinger = await loop.create_connection(Pinger, *address)
                await pinger.start(1)
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                transport.abort()
            await asyncio.sleep(0)
            return count

        yield batch


BODIES = {
    "echo, 1 peer": lambda: echo(1),
    "echo, 50 peers": lambda: echo(50),
    "connect, echo": connect,
    "call_soon": call_soon,
    "tasks": tasks,
    "timers": timers,
}
