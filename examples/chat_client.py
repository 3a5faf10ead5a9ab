"""A chat client over asyncio streams: the keyboard and the network at once.

    python examples/chat_client.py alice      (chat_server.py must be running)

Type a line to send it, press Ctrl-D to leave. The loop reads standard input, too:
connect_read_pipe() watches any pipe or terminal.
"""

import argparse
import asyncio
import contextlib
import sys

import uring_loop


async def keyboard() -> asyncio.StreamReader:
    """A StreamReader of standard input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def send_lines(
        source: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in source:
        writer.write(line)
        await writer.drain()
    # End of the input: send the end of file, and read until the server has closed.
    writer.write_eof()


async def main(host: str, port: int, name: str) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(name.encode() + b"\n")
    typing = asyncio.create_task(send_lines(await keyboard(), writer))
    async for line in reader:
        print(line.decode(errors="replace").rstrip(), flush=True)
    typing.cancel()
    writer.close()
    backend = getattr(asyncio.get_running_loop(), "backend", "of another loop")
    print(f"* you have left, backend {backend}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8008)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uring_loop.run(main(options.host, options.port, options.name))
