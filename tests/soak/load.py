"""Mixed load on one loop, run as a program: `load DRIVER SECONDS`.

Prints a line of JSON a second: what the process holds. Each kind of load is a coroutine
that is repeated until the time is over; an exception in any ends the program.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import threading
import time

import uring_loop

from ..parity import certificates

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZES = (1, 100, 1024, 20_000, 300_000)


class Soak:
    def __init__(self, loop, folder):
        self.loop = loop
        self.folder = folder
        self.done = 0

    async def serve(self):
        async def echo(reader, writer):
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except ConnectionError:
                pass
            finally:
                writer.close()

        self.server = await asyncio.start_server(echo, "127.0.0.1", 0)
        self.tls_server = await asyncio.start_server(
            echo, "127.0.0.1", 0, ssl=certificates.server_context())

    def close(self):
        self.server.close()
        self.tls_server.close()

    # ---- kinds of load

    async def connection(self, server=None, **options):
        """A connection with some exchanges, which ends in one of two ways."""
        address = (server or self.server).sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, **options)
        for _ in range(random.randrange(1, 20)):
            data = random.randbytes(random.choice(SIZES))
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        if random.random() < 0.3:
            writer.transport.abort()
        else:
            writer.close()

    async def tls(self):
        await self.connection(
            self.tls_server, ssl=certificates.client_context(),
            server_hostname=certificates.NAME)

    async def datagrams(self):
        came = self.loop.create_future()

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                if not came.done():
                    came.set_result(data)

        transport, _ = await self.loop.create_datagram_endpoint(
            Protocol, ("127.0.0.1", 0))
        transport.sendto(b"datagram", transport.get_extra_info("sockname"))
        await asyncio.wait([came], timeout=1)
        came.cancel()
        transport.close()

    async def files(self):
        path = os.path.join(self.folder, str(random.random()))
        data = random.randbytes(random.choice(SIZES))
        await uring_loop.write_bytes(path, data)
        assert await uring_loop.read_bytes(path) == data
        await uring_loop.fs.unlink(path)

    async def timers(self):
        handles = [self.loop.call_later(10 + random.random(), int)
                   for _ in range(1000)]
        await asyncio.sleep(0.01)
        for handle in handles:
            handle.cancel()

    async def process(self):
        process = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert (await process.communicate(b"bytes"))[0] == b"bytes"
        await asyncio.sleep(0.2)

    async def calls_from_threads(self):
        came = asyncio.Event()
        thread = threading.Thread(
            target=lambda: self.loop.call_soon_threadsafe(came.set))
        thread.start()
        await came.wait()
        thread.join()
        await asyncio.sleep(0.05)

    async def cancelled(self):
        task = asyncio.ensure_future(self.connection())
        await asyncio.sleep(random.random() * 0.01)
        task.cancel()
        await asyncio.wait([task])

    # ---- the run

    async def repeat(self, kind, until):
        while time.monotonic() < until:
            await kind()
            self.done += 1

    def state(self, start):
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * PAGE
        return {"seconds": time.monotonic() - start, "resident": resident,
                "descriptors": len(os.listdir("/proc/self/fd")),
                "in_flight": self.loop.statistics().in_flight,
                "threads": threading.active_count(), "done": self.done}

    async def sample(self, until):
        start = time.monotonic()
        while time.monotonic() < until:
            await asyncio.sleep(1)
            print(json.dumps(self.state(start)), flush=True)


async def main(seconds):
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(asyncio.get_running_loop(), folder)
        await soak.serve()
        until = time.monotonic() + seconds
        kinds = [soak.connection] * 8 + [
            soak.tls, soak.tls, soak.datagrams, soak.files, soak.timers, soak.process,
            soak.calls_from_threads, soak.cancelled]
        async with asyncio.TaskGroup() as group:
            group.create_task(soak.sample(until))
            for kind in kinds:
                group.create_task(soak.repeat(kind, until))
        soak.close()


if __name__ == "__main__":
    uring_loop.run(main(float(sys.argv[2])), backend=sys.argv[1])
