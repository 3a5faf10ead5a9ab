"""A TCP echo client with an asyncio Protocol, which also measures round trips.

    python examples/echo_server.py            in one terminal
    python examples/echo_client.py --count 100000 --size 1024

Start it with URING_LOOP_BACKEND=epoll to see the same code without io_uring.
"""

import argparse
import asyncio
import os
import time

import uring_loop


class RoundTrips(asyncio.Protocol):
    """Sends a message, waits for all of it to come back, sends it again."""

    def __init__(self, message: bytes, count: int) -> None:
        self.message = message
        self.count = count
        self.received = bytearray()
        self.done: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if len(self.received) < len(self.message):
            return
        if self.received != self.message:
            self.done.set_exception(ValueError("this is no echo"))
            self.transport.abort()
            return
        self.received.clear()
        self.count -= 1
        if self.count:
            self.transport.write(self.message)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc is None and self.count:
            exc = ConnectionResetError("the server closed the connection")
        if exc is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc)


async def main(host: str, port: int, count: int, size: int) -> None:
    loop = asyncio.get_running_loop()
    message = os.urandom(size)
    start = time.perf_counter()
    _, protocol = await loop.create_connection(
        lambda: RoundTrips(message, count), host, port)
    await protocol.done
    seconds = time.perf_counter() - start
    print(f"{count} echoes of {size} bytes, {count / seconds:.0f} per second, "
          f"backend {getattr(loop, 'backend', 'of another loop')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8007)
    parser.add_argument("--count", type=int, default=10_000, help="round trips")
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    options = parser.parse_args()
    uring_loop.run(main(options.host, options.port, options.count, options.size))
