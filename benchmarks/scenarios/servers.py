"""Servers under load; each is the same code on every loop.

A server is an async function `start(where)` that returns the port it listens on
(0 for a Unix path) and leaves the server running on the current loop.
"""

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass

READ_BYTES = 1 << 18
BACKLOG = 4096
MEBIBYTE = 1 << 20
BESIDE_HOST = "127.0.0.2"
SLOW_SECONDS = 0.001
SLOW_PAUSE_SECONDS = 0.004
COMPUTING_SECONDS = 200e-6


@dataclass
class Where:
    """Where a server listens, and the certificate it shows."""

    host: str = "127.0.0.1"
    path: str = ""
    certificate: str = ""


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class ComputingEcho(Echo):
    """Computes first, as a request handler does."""

    def data_received(self, data):
        compute(COMPUTING_SECONDS)
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        # One buffer per connection: a loop may fill it long after get_buffer().
        self.buffer = bytearray(1 << 16)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, size):
        # The slice is a copy: the transport may keep what it is given.
        self.transport.write(self.buffer[:size])


class Sink(asyncio.Protocol):
    """Takes bytes and answers one byte for every mebibyte."""

    def connection_made(self, transport):
        self.transport = transport
        self.received_bytes = 0

    def data_received(self, data):
        self.received_bytes += len(data)
        while self.received_bytes >= MEBIBYTE:
            self.received_bytes -= MEBIBYTE
            self.transport.write(b"k")


class Source(asyncio.Protocol):
    """Answers each byte with a mebibyte, in writes of 64 KiB, when not paused."""

    chunk = bytes(1 << 16)

    def connection_made(self, transport):
        self.transport = transport
        self.paused = False
        self.chunks_count = 0

    def data_received(self, data):
        self.chunks_count += len(data) * (MEBIBYTE // len(self.chunk))
        self.send()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self.send()

    def send(self):
        while self.chunks_count and not self.paused:
            self.chunks_count -= 1
            self.transport.write(self.chunk)


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


def compute(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _tls_context(where):
    """None if the client speaks without TLS."""
    if not where.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(where.certificate)
    return context


def _tcp(factory):
    async def start(where):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            factory, where.host, 0, backlog=BACKLOG, ssl=_tls_context(where))
        return _keep(server).sockets[0].getsockname()[1]
    return start


def _beside(factory):
    """An echo server, and another one at the same port of the next address."""
    async def start(where):
        port = await KINDS["protocol"](where)
        loop = asyncio.get_running_loop()
        _keep(await loop.create_server(factory, BESIDE_HOST, port))
        return port
    return start


async def _start_slow_callback(where):
    """An echo server on a loop with a callback that takes long, every few ms."""
    loop = asyncio.get_running_loop()

    def slow():
        compute(SLOW_SECONDS)
        loop.call_later(SLOW_PAUSE_SECONDS, slow)

    loop.call_soon(slow)
    return await KINDS["protocol"](where)


async def _start_unix(where):
    loop = asyncio.get_running_loop()
    _keep(await loop.create_unix_server(Echo, where.path, backlog=BACKLOG))
    return 0


async def _start_udp(where):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        DatagramEcho, local_addr=(where.host, 0))
    return _keep(transport).get_extra_info("sockname")[1]


async def _start_streams(where):
    async def echo(reader, writer):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(
        echo, where.host, 0, backlog=BACKLOG, ssl=_tls_context(where))
    return _keep(server).sockets[0].getsockname()[1]


async def _start_sock(where):
    loop = asyncio.get_running_loop()
    listener = _listener(where)
    tasks = _keep(set())

    async def echo(connection):
        with connection:
            while data := await loop.sock_recv(connection, READ_BYTES):
                await loop.sock_sendall(connection, data)

    async def accept():
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    tasks.add(loop.create_task(accept()))
    return listener.getsockname()[1]


async def _start_uvicorn(where):
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200,
                    "headers": headers})
        await send({"type": "http.response.body", "body": b"Hello, world!"})

    return await _uvicorn_with(app, where)


async def _start_fastapi(where):
    """An application of some life: JSON, a parameter with a type, a dependency."""
    from fastapi import Depends, FastAPI

    async def database():
        yield {"greeting": "Hello, world!"}

    app = FastAPI()

    @app.get("/")
    async def hello(number: int = 1, db: dict = Depends(database)):
        return {"number": number, "greeting": db["greeting"]}

    return await _uvicorn_with(app, where)


async def _uvicorn_with(app, where):
    import uvicorn

    listener = _listener(where)
    config = uvicorn.Config(app, http="httptools", lifespan="off", ws="none",
                            access_log=False, log_level="critical",
                            ssl_certfile=where.certificate or None, backlog=BACKLOG)
    server = uvicorn.Server(config)
    task = _keep(asyncio.ensure_future(server.serve(sockets=[listener])))
    while not server.started:
        if task.done():
            raise RuntimeError(f"uvicorn ended at once: {task}")
        await asyncio.sleep(0.01)
    return listener.getsockname()[1]


async def aiohttp_hello():
    """The runner of an application that greets; the caller adds a site."""
    from aiohttp import web

    async def hello(request):
        return web.Response(text="Hello, world!")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    return runner


async def _start_aiohttp(where):
    from aiohttp import web

    runner = await aiohttp_hello()
    listener = _listener(where)
    await _keep(web.SockSite(runner, listener, backlog=BACKLOG)).start()
    return listener.getsockname()[1]


async def _start_websockets(where):
    from websockets.asyncio.server import serve

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    server = await serve(echo, where.host, 0, compression=None)
    return _keep(server).sockets[0].getsockname()[1]


KINDS = {
    "protocol": _tcp(Echo),
    "buffered": _tcp(BufferedEcho),
    "computing": _tcp(ComputingEcho),
    "sink": _tcp(Sink),
    "source": _tcp(Source),
    "fair_send": _beside(Source),
    "fair_receive": _beside(Sink),
    "fair_slow": _start_slow_callback,
    "unix": _start_unix,
    "tls": _tcp(Echo),
    "udp": _start_udp,
    "streams": _start_streams,
    "tls-streams": _start_streams,
    "sock": _start_sock,
    "uvicorn": _start_uvicorn,
    "fastapi": _start_fastapi,
    "aiohttp": _start_aiohttp,
    "websockets": _start_websockets,
}

# References to the servers: some loops close a server that is not referenced.
_kept = []


def _keep(thing):
    _kept.append(thing)
    return thing


def _listener(where):
    # Protocol number given, as in loop.create_server(): asyncio sets TCP_NODELAY on
    # accepted sockets only if the listener has it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((where.host, 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
