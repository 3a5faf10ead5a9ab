"""Tries each driver in a second: TCP, UDP, TLS, a file, a timer, a thread."""

import asyncio
import os
import ssl
import time

from uring_loop import files
from uring_loop.cli import certificate
from uring_loop.loop import Loop

DRIVERS = ("io_uring", "epoll")
# For a step that hangs: on a busy machine one that works may take seconds.
STEP_SECONDS = 30
SMALL, LARGE = b"ping", bytes(range(256)) * 800
DATAGRAM = b"datagram"
HOST, NAME = "127.0.0.1", "localhost"
TIMER_SECONDS = 0.01


def try_driver(driver):
    """{step: {"seconds"} or {"error"}}, or {"refused": reason} if there is no loop."""
    try:
        loop = Loop(backend=driver)
    except (OSError, ValueError) as exc:
        # ValueError: an environment variable has a value that no loop takes.
        return {"refused": getattr(exc, "strerror", None) or str(exc)}
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return {"steps": {name: runner.run(attempt(step))
                          for name, step in STEPS.items()}}


async def attempt(step):
    """Run a step; how long it took, or how it failed."""
    begin = time.perf_counter()
    try:
        await asyncio.wait_for(step(), STEP_SECONDS)
    except Exception as exc:
        # Reported as the step's outcome, whatever it is: that is the test.
        return {"error": f"{type(exc).__name__}: {exc}".rstrip(": ")}
    return {"seconds": round(time.perf_counter() - begin, 6)}


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {got[:40]!r} instead of {wanted[:40]!r}")


async def tcp():
    await echo_stream(None, {})


async def tls():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted = certificate.load_into(server, NAME)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=trusted)
    await echo_stream(server, {"ssl": client, "server_hostname": NAME})


async def echo_stream(server_ssl, client_options):
    """A small and a large message to a server on this loop, and back."""
    server = await asyncio.start_server(send_back, HOST, 0, ssl=server_ssl)
    try:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), **client_options)
        for message in (SMALL, LARGE):
            writer.write(message)
            expect(await reader.readexactly(len(message)), message, "echo")
        writer.close()
        await writer.wait_closed()
    finally:
        # Without waiting for its connections: a step that is out of time must end.
        server.close()


async def send_back(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """Sends datagrams back, or keeps the first if `received` is given."""

    def __init__(self, received=None):
        self.received = received

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if self.received is None:
            self.transport.sendto(data, address)
        elif not self.received.done():
            self.received.set_result(data)

    def error_received(self, exc):
        if self.received is not None and not self.received.done():
            self.received.set_exception(exc)


async def udp():
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(
        Datagrams, local_addr=(HOST, 0))
    received = loop.create_future()
    client, _ = await loop.create_datagram_endpoint(
        lambda: Datagrams(received), remote_addr=server.get_extra_info("sockname"))
    try:
        client.sendto(DATAGRAM)
        expect(await received, DATAGRAM, "datagram")
    finally:
        client.close()
        server.close()


async def file():
    # In memory: a container may have no folder that can be written to.
    fd = os.memfd_create("doctor")
    try:
        path = f"/proc/self/fd/{fd}"
        await files.write_bytes(path, LARGE)
        expect(await files.read_bytes(path), LARGE, "file")
    finally:
        os.close(fd)


async def timer():
    loop = asyncio.get_running_loop()
    begin = time.monotonic()
    await asyncio.sleep(TIMER_SECONDS)
    early = TIMER_SECONDS - (time.monotonic() - begin)
    # asyncio may be early by the resolution of the clock.
    if early > loop._clock_resolution:
        raise AssertionError(f"{early * 1e6:.0f} µs early")


async def thread():
    """A thread's result, and a call from it, wake the loop."""
    loop = asyncio.get_running_loop()
    called = loop.create_future()
    await asyncio.to_thread(loop.call_soon_threadsafe, called.set_result, SMALL)
    expect(await called, SMALL, "call")


STEPS = {"TCP echo": tcp, "UDP echo": udp, "TLS echo": tls, "file": file,
         "timer": timer, "thread": thread}
