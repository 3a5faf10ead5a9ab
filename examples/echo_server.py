"""A TCP echo server with an asyncio Protocol, run by uring_loop.

    python examples/echo_server.py            then, in another terminal:
    python examples/echo_client.py

The server is plain asyncio, except for the line with `uring_loop.run`.
"""

import argparse
import asyncio
import contextlib

import uring_loop


class Echo(asyncio.Protocol):
    """One object for each connection; bytes arrive by a direct call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    # A peer that does not read must not fill our memory: stop reading from it
    # while more than get_write_buffer_limits() waits to be sent.
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def main(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, host, port)
    backend = getattr(loop, "backend", "of another loop")
    print(f"echo server on {host}:{port}, backend {backend}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8007)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uring_loop.run(main(options.host, options.port))
