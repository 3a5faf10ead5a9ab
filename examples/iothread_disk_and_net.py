"""Disk and network in IOThreads of their own: neither waits for the other.

    python examples/iothread_disk_and_net.py --seconds 10
    python examples/iothread_disk_and_net.py --one-thread     # for comparison

The "disk" thread reads blocks of a file and checks their sums, with calls that block
its loop. The "net" thread plays ping-pong over TCP and measures each round trip. The
main thread shows both, live. With --one-thread, both share a thread, and a ping waits
while a block is read. IOThreads avoid that wait, with a GIL or without it. (os.pread
and zlib.crc32 both release the GIL.)
"""

import argparse
import asyncio
import collections
import contextlib
import os
import random
import tempfile
import time
import zlib

from rich.console import Console
from rich.live import Live
from rich.table import Table

import uring_loop

BLOCK_BYTES = 4 << 20
BLOCKS = 16
KEPT = 2000     # the number of round trips of which percentiles are taken
# How many, their median, and the time that one in a hundred exceeds.
Numbers = tuple[int, float, float]


class Work:
    """The work of a thread; `snapshot` runs in that thread, so it needs no lock."""

    def __init__(self, name: str, unit: str) -> None:
        self.name, self.unit, self.done = name, unit, 0
        self.seconds: collections.deque[float] = collections.deque(maxlen=KEPT)

    def note(self, seconds: float) -> None:
        self.done += 1
        self.seconds.append(seconds)

    def snapshot(self) -> Numbers:
        ordered = sorted(self.seconds) or [0.0]
        return (self.done, ordered[len(ordered) // 2],
                ordered[len(ordered) * 99 // 100])


class Disk(Work):
    async def run(self, path: str) -> None:
        with open(path, "rb", buffering=0) as file:
            while True:
                begin = time.monotonic()
                offset = random.randrange(BLOCKS) * BLOCK_BYTES
                zlib.crc32(os.pread(file.fileno(), BLOCK_BYTES, offset))
                self.note(time.monotonic() - begin)
                # Between two blocks the loop runs its other callbacks.
                await asyncio.sleep(0)


class Net(Work):
    async def run(self) -> None:
        server = await asyncio.start_server(self.echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname())
            try:
                while True:
                    begin = time.monotonic()
                    writer.write(b"ping")
                    await reader.readexactly(4)
                    self.note(time.monotonic() - begin)
            finally:
                writer.close()

    async def echo(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()


def table(rows: list[tuple[Work, uring_loop.IOThread, Numbers]],
          seconds: float) -> Table:
    shown = Table(title=f"after {seconds:.1f} s")
    for column in ("work", "thread", "backend"):
        shown.add_column(column)
    for column in ("a second", "median", "p99"):
        shown.add_column(column, justify="right")
    for work, thread, (done, median, p99) in rows:
        shown.add_row(
            work.name, f"{thread.name} ({thread.native_id})", thread.loop.backend,
            f"{done / max(seconds, 0.001):,.0f} {work.unit}",
            f"{median * 1e6:,.0f} µs", f"{p99 * 1e6:,.0f} µs")
    return shown


def watch(pairs: list[tuple[Work, uring_loop.IOThread]], seconds: float,
          console: Console) -> None:
    """Ask both threads for their numbers until the time is over."""
    begin = time.monotonic()
    with Live(console=console, refresh_per_second=4) as live:
        while (passed := time.monotonic() - begin) < seconds:
            time.sleep(min(0.25, seconds - passed))
            rows = [(work, thread, thread.submit(work.snapshot).result())
                    for work, thread in pairs]
            live.update(table(rows, time.monotonic() - begin))


def main(options: argparse.Namespace) -> None:
    disk, net = Disk("disk", "blocks"), Net("net", "pings")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        for _ in range(BLOCKS):
            file.write(os.urandom(BLOCK_BYTES))
        file.flush()
        # Exits run in reverse order: both threads have ended before the file is
        # removed.
        disk_thread = stack.enter_context(uring_loop.IOThread("disk"))
        net_thread = disk_thread
        if not options.one_thread:
            net_thread = stack.enter_context(uring_loop.IOThread("net"))
        disk_thread.run(disk.run(file.name))
        net_thread.run(net.run())
        with contextlib.suppress(KeyboardInterrupt):
            watch([(disk, disk_thread), (net, net_thread)], options.seconds, Console())
    # rich ends its table with a new line on a terminal only.
    print(f"\n{disk.done} blocks, {net.done} pings")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--one-thread", action="store_true")
    main(parser.parse_args())
