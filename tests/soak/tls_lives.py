"""Lives of TLS connections with seeded damage, and what they leave behind.

    python -m tests.soak.tls_lives [--connections N] [--seed N] [--damaged SHARE]
                                   [--driver io_uring|epoll] [--engine auto|stdlib]

Each connection has a server on the loop and a client on memory. Some of what clients
send is damaged, in handshakes and behind them. A server may only deliver a prefix of
what its client has written, and hears of its end once. Then descriptors, objects,
allocated memory and what is resident are compared with those behind the first thousand.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import socket
import ssl
import sys
import time

import uring_loop

from tests.parity import certificates
from tests.parity.tls_peer import CHUNK_BYTES, Peer

AT_ONCE = 50
FIRST = 1000
PAGE = os.sysconf("SC_PAGE_SIZE")
END_SECONDS = 30
ROUNDS = 4
MOST_BYTES = 40_000
CLASSES = ("SSLConnection", "SSLProtocol", "SSLTransport", "StreamTransport",
           "SSLObject", "_SSLSocket", "MemoryBIO")


class Server(asyncio.Protocol):
    """Keeps what it is given, and echoes it."""

    def __init__(self):
        self.received = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        self.transport.write(data)

    def connection_lost(self, exc):
        self.ended.set_result(exc)


def flip(chance, data):
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) \
        + data[place + 1:]


def insert(chance, data):
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.randbytes(chance.randrange(1, 40)) + data[place:]


def cut(chance, data):
    return data[:chance.randrange(len(data))]


def repeat(chance, data):
    return data + data[chance.randrange(len(data)):]


def rubbish(chance, data):
    return chance.randbytes(chance.randrange(1, 2000))


def false_length(chance, data):
    return data[:3] + chance.randbytes(2) + data[5:]


def alert(chance, data):
    return b"\x15\x03\x03\x00\x02" + chance.randbytes(2) + data


DAMAGES = (flip, flip, flip, insert, cut, repeat, rubbish, false_length, alert)


class Client(Peer):
    """What it sends may be damaged once, at the send of that number."""

    def __init__(self, loop, sock, context, chance, damaged_send):
        super().__init__(loop, sock, context, server_hostname=certificates.NAME)
        self.chance = chance
        self.sends_left = damaged_send
        self.written = bytearray()

    async def send_raw(self, data):
        if not data:
            return
        if self.sends_left == 0:
            data = self.chance.choice(DAMAGES)(self.chance, data)
        self.sends_left -= 1
        if self.chance.random() < 0.2:
            place = self.chance.randrange(len(data) + 1)
            await super().send_raw(data[:place])
            await asyncio.sleep(0)
            data = data[place:]
        await super().send_raw(data)

    async def receive(self):
        data = await self.loop.sock_recv(self.sock, CHUNK_BYTES)
        if not data:
            raise ConnectionResetError
        self.incoming.write(data)

    async def live(self):
        await self.handshake()
        for _ in range(self.chance.randrange(ROUNDS)):
            piece = self.chance.randbytes(self.chance.randrange(1, MOST_BYTES))
            self.written += piece
            self.tls.write(piece)
            left = len(piece)
            while left:
                back = await self.until_done(lambda: self.tls.read(65536))
                if not back:
                    return
                left -= len(back)
        if self.chance.random() < 0.5:
            with contextlib.suppress(ssl.SSLError):
                await self.until_done(self.tls.unwrap)


def contexts():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority().issue_cert(certificates.NAME).configure_cert(server)
    clients = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        certificates.authority().configure_trust(client)
        client.minimum_version = client.maximum_version = version
        clients.append(client)
    return server, clients


class Lives:
    def __init__(self, options):
        self.options = options
        self.server_context, self.client_contexts = contexts()
        self.counts = dict.fromkeys(("lives", "made", "failed", "damaged"), 0)

    async def one(self, number):
        chance = random.Random(f"{self.options.seed}-{number}")
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        damaged = chance.random() < self.options.damaged
        client = Client(loop, far, chance.choice(self.client_contexts), chance,
                        chance.randrange(6) if damaged else -1)
        protocol = Server()
        accepting = asyncio.ensure_future(loop.connect_accepted_socket(
            lambda: protocol, near, ssl=self.server_context))
        with far:
            try:
                async with asyncio.timeout(1 if damaged else END_SECONDS):
                    await client.live()
            except (OSError, TimeoutError):
                # A length that was made longer has the server wait for more.
                assert damaged, number
        await self.end(number, accepting, protocol, client)
        self.counts["lives"] += 1
        self.counts["damaged"] += damaged

    async def end(self, number, accepting, protocol, client):
        async with asyncio.timeout(END_SECONDS):
            try:
                await accepting
            except (OSError, asyncio.CancelledError):
                self.counts["failed"] += 1
            else:
                self.counts["made"] += 1
                await protocol.ended
        assert client.written.startswith(protocol.received), number

    async def many(self, first, last):
        numbers = iter(range(first, last))

        async def worker():
            for number in numbers:
                await self.one(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())


class Memory(ctypes.Structure):
    """Of mallinfo2(3): ten numbers of bytes or blocks."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
        "uordblks", "fordblks", "keepcost")]


def left():
    """What a process holds."""
    for _ in range(3):
        gc.collect()
    # What glibc keeps for later is not held by anybody.
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    found = {"descriptors": len(os.listdir("/proc/self/fd"))}
    with open("/proc/self/statm") as file:
        found["resident KiB"] = int(file.read().split()[1]) * PAGE // 1024
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = Memory
        memory = mallinfo()
        found["allocated KiB"] = (memory.uordblks + memory.hblkhd) // 1024
    found["Python's blocks"] = sys.getallocatedblocks()
    names = [type(thing).__name__ for thing in gc.get_objects()]
    return found | {name: names.count(name) for name in CLASSES}


async def run(options):
    loop = asyncio.get_running_loop()
    # Errors of damaged connections are no news.
    loop.set_exception_handler(lambda loop, context: None)
    lives = Lives(options)
    await lives.many(0, min(FIRST, options.connections // 2))
    before = left()
    start = time.monotonic()
    await lives.many(min(FIRST, options.connections // 2), options.connections)
    after = left()
    print(json.dumps({
        "engine": getattr(loop, "tls_engine", None), **lives.counts,
        "seconds": round(time.monotonic() - start), "before": before,
        "after": after}, indent=1), flush=True)
    check(before, after)


def check(before, after):
    for name in ("descriptors", *CLASSES):
        assert after[name] == before[name], name
    # AddressSanitizer keeps freed memory, and glibc knows nothing of it.
    resident = 8192 if after.get("allocated KiB") else 1 << 30
    for name, most in (("Python's blocks", 2000), ("allocated KiB", 512),
                       ("resident KiB", resident)):
        assert after.get(name, 0) - before.get(name, 0) < most, name


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.soak.tls_lives")
    parser.add_argument("--connections", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damaged", type=float, default=0.5)
    parser.add_argument("--driver", default="io_uring")
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args(arguments)
    uring_loop.run(run(options), backend=options.driver, tls=options.engine)


if __name__ == "__main__":
    main()
