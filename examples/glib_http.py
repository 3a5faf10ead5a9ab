"""An HTTP server and a client of it inside GLib's main loop, beside GLib's own timer.

    apt install python3-gi
    python glib_http.py [--requests 20]
"""

import argparse
import asyncio

from gi.repository import GLib

from uring_loop.glib import GLibRunner

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nHello, GLib!"


async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(PAGE)
    await writer.drain()
    writer.close()


async def get(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    page = await reader.read()
    writer.close()
    return page.partition(b"\r\n\r\n")[2].decode()


async def main(requests: int) -> None:
    ticks = 0

    def tick() -> bool:
        nonlocal ticks
        ticks += 1
        return True     # once more

    timer = GLib.timeout_add(1, tick)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pages = await asyncio.gather(*(get(port) for _ in range(requests)))
        while not ticks:
            await asyncio.sleep(0.001)
    GLib.source_remove(timer)
    loop = asyncio.get_running_loop()
    print(f"{len(pages)} pages say {set(pages)}, GLib's timer went on, "
          f"backend {getattr(loop, 'backend', None)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20)
    arguments = parser.parse_args()
    with GLibRunner() as runner:
        runner.run(main(arguments.requests))
