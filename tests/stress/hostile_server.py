"""A server for hostile peers, run as a program: `hostile_server.py LOOP CERTIFICATE`.

It says the port of each kind of service. Each line on its input is answered by a line
of JSON: what the server holds. The end of its input ends it.

    echo    sends back what it gets
    tls     the same over TLS, with a handshake of at most 2 seconds
    paused  never reads
    pour    writes until it is asked to pause, and again when it may
"""

import asyncio
import collections
import gc
import json
import os
import ssl
import sys

PIECE = bytes(16384)
PAGE = os.sysconf("SC_PAGE_SIZE")
HANDSHAKE_SECONDS = 2
SERVICES = {}
counts = collections.Counter()


def service(cls):
    SERVICES[cls.__name__.lower()] = cls
    return cls


class Counted(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        counts["made"] += 1

    def connection_lost(self, exc):
        counts["lost"] += 1


@service
class Echo(Counted):
    def data_received(self, data):
        counts["received"] += len(data)
        counts["deliveries"] += 1
        self.transport.write(data)


@service
class Tls(Echo):
    pass


@service
class Paused(Counted):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()

    def data_received(self, data):
        counts["received"] += len(data)


@service
class Pour(Counted):
    writing = True

    def connection_made(self, transport):
        super().connection_made(transport)
        self.pour()

    def pour(self):
        while self.writing and not self.transport.is_closing():
            self.transport.write(PIECE)
        held = self.transport.get_write_buffer_size()
        counts["most_held"] = max(counts["most_held"], held)

    def pause_writing(self):
        self.writing = False

    def resume_writing(self):
        self.writing = True
        asyncio.get_running_loop().call_soon(self.pour)


def state(loop):
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * PAGE
    found = loop.statistics()
    return {**counts, "resident": resident, "in_flight": found.in_flight,
            "ready": found.ready, "timers": found.timers,
            "descriptors": len(os.listdir("/proc/self/fd"))}


async def main(loop_name, certificate):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: counts.update(["reported"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name, cls in SERVICES.items():
        options = {}
        if name == "tls":
            options = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        server = await loop.create_server(
            cls, "127.0.0.1", 0, backlog=512, **options)
        print(name, server.sockets[0].getsockname()[1], flush=True)
    print("ready", 0, flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(state(loop)), flush=True)


if __name__ == "__main__":
    import uring_loop

    uring_loop.run(main(*sys.argv[1:]), backend=sys.argv[1])
