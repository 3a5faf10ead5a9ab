"""A chat server over asyncio streams: it sends each client's lines to all others.

    python examples/chat_server.py            in one terminal
    python examples/chat_client.py alice      in a second
    python examples/chat_client.py bob        in a third

The code is that for stock asyncio: start_server() and await. The first line that a
client sends is its name.
"""

import argparse
import asyncio
import contextlib

import uring_loop

# A client with more unread bytes than this is disconnected.
UNREAD_BYTES_MOST = 1024 * 1024


class Room:
    """The connected clients."""

    def __init__(self) -> None:
        self.writers: dict[asyncio.StreamWriter, str] = {}

    def say(self, line: str, sender: asyncio.StreamWriter | None = None) -> None:
        for writer in list(self.writers):
            if writer is sender:
                continue
            if writer.transport.get_write_buffer_size() > UNREAD_BYTES_MOST:
                writer.transport.abort()
            else:
                writer.write(line.encode() + b"\n")

    async def welcome(self, reader: asyncio.StreamReader,
                      writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves."""
        try:
            name = (await reader.readline()).decode(errors="replace").strip()
            self.writers[writer] = name
            self.say(f"* {name} is here, {len(self.writers)} in the room")
            while line := await reader.readline():
                text = line.decode(errors="replace").rstrip()
                self.say(f"{name}: {text}", sender=writer)
        except (ConnectionError, ValueError):
            pass    # gone, or a line longer than the stream's limit of 64 KiB
        finally:
            left = self.writers.pop(writer, None)
            writer.close()
            if left is not None:
                self.say(f"* {left} has left")


async def main(host: str, port: int) -> None:
    server = await asyncio.start_server(Room().welcome, host, port)
    backend = getattr(asyncio.get_running_loop(), "backend", "of another loop")
    print(f"chat server on {host}:{port}, backend {backend}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8008)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uring_loop.run(main(options.host, options.port))
