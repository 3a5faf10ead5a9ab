"""Measure HTTP answers of a process that does 64 random file reads at a time.

`run()` gives a line for uring_loop and one for aiofiles on uvloop. The server and its
reads are one process (`python -m benchmarks.files.http NAME PATH`), the client another.
"""

import asyncio
import statistics
import subprocess
import sys
import threading
import time

from benchmarks.files.contender import PEERS, Offsets, loop_for, uring
from benchmarks.measure.processes import module_command

NAMES = {"uring_loop": "DEFER_TASKRUN", "aiofiles on uvloop": "aiofiles"}
READS_AT_ONCE = 64
CONNECTIONS = 8
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def serve(name, path):
    """Answer and read until standard input ends; then print the counts."""
    contender = PEERS.get(name, uring)
    operations = await contender(path, False, READS_AT_ONCE, True)
    offsets = Offsets(path).all
    done = 0

    async def reader(number, operation):
        nonlocal done
        while True:
            await operation(offsets[(number * 1024 + done) % len(offsets)])
            done += 1

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Hello, "127.0.0.1", 0)
    tasks = [asyncio.create_task(reader(n, op)) for n, op in enumerate(operations)]
    print(server.sockets[0].getsockname()[1], flush=True)
    # No executor here: its threads would be counted.
    finished = loop.create_future()
    loop.add_reader(sys.stdin, lambda: finished.done() or finished.set_result(None))
    begin = time.perf_counter()
    await finished
    print(done / (time.perf_counter() - begin), threading.active_count(), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def client(port, seconds, latencies):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        writer.write(REQUEST)
        await reader.readexactly(len(ANSWER))
        latencies.append((time.perf_counter() - begin) * 1e6)
    writer.close()


def one(name, path, seconds):
    """(p50, p99, HTTP requests per second, reads per second, Python threads)"""
    process = subprocess.Popen(
        module_command("benchmarks.files.http", name, path), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        port = int(process.stdout.readline())
        latencies = []

        async def clients():
            await asyncio.gather(*(client(port, seconds, latencies)
                                   for _ in range(CONNECTIONS)))

        asyncio.run(clients())
        process.stdin.write("end\n")
        process.stdin.flush()
        reads, threads = map(float, process.stdout.readline().split())
        process.stdin.close()
    cuts = statistics.quantiles(latencies, n=100)
    return cuts[49], cuts[98], len(latencies) / seconds, reads, threads


def run(path, rounds, seconds, missing):
    """{title: [median of each number]}; the contenders run in turn, but for those that
    are missing."""
    names = {title: name for title, name in NAMES.items() if name not in missing}
    found = {title: [] for title in names}
    for _ in range(rounds):
        for title, name in names.items():
            found[title].append(one(name, path, seconds))
    return {title: [statistics.median(column) for column in zip(*lines)]
            for title, lines in found.items()}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: loop_for(sys.argv[1])) as runner:
        runner.run(serve(*sys.argv[1:]))
