"""Bodies in which a client and a server, or a task and its waiter, share one loop.

They need no second process, so as many of them as there are processors can run at a
time. Otherwise as in micro.py: a body prepares its state and yields `batch`.
"""

import asyncio
import contextlib
import socket
import ssl

MESSAGE = b"x" * 64
READ_BYTES = 4096
HTTP_CONNECTIONS = 16
REQUEST = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: pairs\r\n\r\n"
RESPONSE = (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 13\r\n\r\nHello, world!")
HEAD_END = b"\r\n\r\n"


@contextlib.asynccontextmanager
async def _tasks():
    loop = asyncio.get_running_loop()

    async def one():
        await asyncio.sleep(0)

    async def batch(count=500):
        for _ in range(count):
            await loop.create_task(one())
        return count

    yield batch


class End(asyncio.Protocol):
    """One end of a connection, which can be ended and waited for."""

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.lost.set_result(None)

    async def end(self):
        self.transport.abort()
        await self.lost


class Echo(End):
    def data_received(self, data):
        self.transport.write(data)


class Asker(End):
    """Sends a message, and the next one when the answer is whole."""

    def __init__(self, message=MESSAGE, answer_bytes=len(MESSAGE)):
        super().__init__()
        self.message = message
        self.answer_bytes = answer_bytes

    def ask(self, count):
        """Ask so many times; answers a Future that is done after the last answer."""
        self.done = asyncio.get_running_loop().create_future()
        self.asked, self.got_bytes = count, 0
        self.transport.write(self.message)
        return self.done

    def data_received(self, data):
        self.got_bytes += len(data)
        if self.got_bytes < self.answer_bytes:
            return
        self.got_bytes = 0
        self.asked -= 1
        if self.asked:
            self.transport.write(self.message)
        else:
            self.done.set_result(None)


class HttpServer(End):
    """Looks at the request line only, as far as a server on a raw Protocol has to."""

    def __init__(self):
        super().__init__()
        self.head = b""

    def data_received(self, data):
        self.head += data
        while HEAD_END in self.head:
            head, _, self.head = self.head.partition(HEAD_END)
            method, _, _ = head.partition(b"\r\n")[0].split(b" ", 2)
            if method == b"GET":
                self.transport.write(RESPONSE)


@contextlib.asynccontextmanager
async def _protocol():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    _, echo = await loop.create_connection(Echo, sock=theirs)
    _, asker = await loop.create_connection(Asker, sock=ours)

    async def batch(count=500):
        await asker.ask(count)
        return count

    yield batch
    await asker.end()
    await echo.end()


@contextlib.asynccontextmanager
async def _streams():
    async def echo():
        while data := await served_reader.read(READ_BYTES):
            served_writer.write(data)

    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    served_reader, served_writer = await asyncio.open_connection(sock=theirs)
    task = asyncio.create_task(echo())

    async def batch(count=200):
        for _ in range(count):
            writer.write(MESSAGE)
            await reader.read(READ_BYTES)
        return count

    yield batch
    writer.close()
    await task
    served_writer.close()


@contextlib.asynccontextmanager
async def _connected(server_factory, asker_factory, connections, server_tls=None,
                     client_tls=None):
    """Askers that are connected over TCP to a server in the same loop."""
    def serve():
        served.append(server_factory())
        return served[-1]

    loop = asyncio.get_running_loop()
    served = []
    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=server_tls)
    address = server.sockets[0].getsockname()
    askers = [(await loop.create_connection(asker_factory, *address, ssl=client_tls))[1]
              for _ in range(connections)]

    async def batch(count=40):
        await asyncio.gather(*[asker.ask(count) for asker in askers])
        return connections * count

    yield batch
    server.close()
    for end in askers + served:
        await end.end()


def _http():
    return _connected(HttpServer, lambda: Asker(REQUEST, len(RESPONSE)),
                      HTTP_CONNECTIONS)


def _tls(certificate):
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate)
    client_tls = ssl.create_default_context(cafile=certificate)
    # The certificate names no host.
    client_tls.check_hostname = False
    return _connected(Echo, Asker, 4, server_tls, client_tls)


BODIES = {
    "tasks": _tasks,
    "protocol": _protocol,
    "streams": _streams,
    "tls": _tls,
    "http": _http,
}
