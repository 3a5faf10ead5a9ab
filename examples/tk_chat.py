"""A chat window: tkinter's main loop, with server and client of the chat inside it.

    apt install python3-tk
    python tk_chat.py [--port 8765] [--say TEXT ...] [--quit-after COUNT]

Other clients (telnet, nc) may connect. `--say` sends lines without typing.
"""

import argparse
import asyncio
import tkinter
from collections.abc import AsyncIterator
from tkinter import scrolledtext

import uring_loop
from uring_loop.hosts import TkHost


class Room:
    """The server: it sends every line to all clients."""

    def __init__(self) -> None:
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader,
                    writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while line := await reader.readline():
                for other in self.writers:
                    other.write(line)
        finally:
            self.writers.discard(writer)
            writer.close()


class Window:
    """The client: a text field to read and an entry to write."""

    def __init__(self, root: tkinter.Tk, title: str) -> None:
        root.title(title)
        self.text = scrolledtext.ScrolledText(root, width=60, height=12)
        self.text.pack(fill="both", expand=True)
        self.entry = tkinter.Entry(root)
        self.entry.pack(fill="x")
        self.entry.bind("<Return>", self.send)
        self.writer: asyncio.StreamWriter | None = None

    def send(self, event: object = None) -> None:
        # Called by tkinter: the write wakes the loop.
        if self.writer is not None:
            self.writer.write(self.entry.get().encode() + b"\n")
        self.entry.delete(0, "end")

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    async def follow(self, port: int) -> AsyncIterator[int]:
        """Show each line; yields their number."""
        reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while line := await reader.readline():
            self.text.insert("end", line.decode())
            self.text.see("end")
            count += 1
            yield count


async def chat(root: tkinter.Tk, window: Window,
               arguments: argparse.Namespace) -> None:
    server = await asyncio.start_server(Room().serve, "127.0.0.1", arguments.port)
    port = server.sockets[0].getsockname()[1]
    window.text.insert("end", f"chat server on 127.0.0.1 port {port}\n")
    count = 0
    for number, text in enumerate(arguments.say):
        root.after(100 * (number + 1), type_line, window, text)
    async with server:
        async for count in window.follow(port):
            if count == arguments.quit_after:
                window.close()
                break
    backend = getattr(asyncio.get_running_loop(), "backend", None)
    print(f"{count} lines in tkinter's window, backend {backend}")


def type_line(window: Window, text: str) -> None:
    window.entry.insert(0, text)
    window.send()


def main(arguments: argparse.Namespace) -> None:
    root = tkinter.Tk()
    window = Window(root, "uring_loop inside tkinter")
    loop = uring_loop.new_event_loop()
    task = loop.create_task(chat(root, window, arguments))
    task.add_done_callback(lambda task: loop.stop())
    with TkHost(loop, root):
        root.mainloop()
    if not task.done():
        task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--say", nargs="*", default=[])
    parser.add_argument("--quit-after", type=int)
    main(parser.parse_args())
