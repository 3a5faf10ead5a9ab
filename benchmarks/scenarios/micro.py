"""Micro scenarios: bodies that load the scheduler from inside, without a client.

A body is an async context manager that prepares its state and yields `batch`, a
coroutine function that does a few milliseconds of work and returns how many
operations that was.
"""

import asyncio
import contextlib
import os
import queue
import ssl
import threading

# No timer fires in a run: those that stay live expire before the churned ones, as a
# new keep-alive timer expires after those of other connections.
LIVE_TIMER_SECONDS = 3600.0
TIMER_SECONDS = 7200.0
SLEEP_SECONDS = 0.001
LISTENERS_COUNT = 16


def opened(kind, loop, arguments):
    """The batch function of one body; its state lives as long as the context."""
    return entered(BODIES[kind](*arguments), loop)


@contextlib.contextmanager
def entered(body, loop):
    batch = loop.run_until_complete(body.__aenter__())
    try:
        yield batch
    finally:
        loop.run_until_complete(body.__aexit__(None, None, None))


def _noop():
    pass


@contextlib.asynccontextmanager
async def _call_soon_chain():
    loop = asyncio.get_running_loop()

    async def batch(count=10_000):
        done = loop.create_future()
        left = count

        def step():
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(step)
            else:
                done.set_result(None)

        loop.call_soon(step)
        await done
        return count

    yield batch


@contextlib.asynccontextmanager
async def _call_soon_burst():
    loop = asyncio.get_running_loop()

    async def batch(rounds=10, count=1000):
        for _ in range(rounds):
            for _ in range(count):
                loop.call_soon(_noop)
            await asyncio.sleep(0)
        return rounds * count

    yield batch


@contextlib.asynccontextmanager
async def _timer_churn(live_count=0):
    loop = asyncio.get_running_loop()
    live = [loop.call_later(LIVE_TIMER_SECONDS + number / 1000, _noop)
            for number in range(live_count)]

    async def batch(rounds=10, count=500):
        for _ in range(rounds):
            for _ in range(count):
                loop.call_later(TIMER_SECONDS, _noop).cancel()
            await asyncio.sleep(0)
        return rounds * count

    yield batch
    for handle in live:
        handle.cancel()


@contextlib.asynccontextmanager
async def _sleep_zero():
    async def batch(count=5000):
        for _ in range(count):
            await asyncio.sleep(0)
        return count

    yield batch


@contextlib.asynccontextmanager
async def _task_gather():
    loop = asyncio.get_running_loop()

    async def nothing():
        pass

    async def batch(rounds=20, count=100):
        for _ in range(rounds):
            await asyncio.gather(*[loop.create_task(nothing())
                                   for _ in range(count)])
        return rounds * count

    yield batch


@contextlib.asynccontextmanager
async def _threadsafe():
    loop = asyncio.get_running_loop()
    asked = queue.SimpleQueue()

    def answer():
        while (future := asked.get()) is not None:
            loop.call_soon_threadsafe(future.set_result, None)

    async def batch(count=100):
        for _ in range(count):
            future = loop.create_future()
            asked.put(future)
            await future
        return count

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield batch
    asked.put(None)
    thread.join()


@contextlib.asynccontextmanager
async def _executor():
    loop = asyncio.get_running_loop()

    async def batch(count=100):
        for _ in range(count):
            await loop.run_in_executor(None, _noop)
        return count

    yield batch


@contextlib.asynccontextmanager
async def _pipe_reader():
    loop = asyncio.get_running_loop()
    read_fd, write_fd = os.pipe()
    # Never read: the pipe stays readable and every iteration calls back.
    os.write(write_fd, b"x")

    async def batch(count=5000):
        done = loop.create_future()
        left = count

        def readable():
            nonlocal left
            left -= 1
            if not left:
                loop.remove_reader(read_fd)
                done.set_result(None)

        loop.add_reader(read_fd, readable)
        await done
        return count

    yield batch
    os.close(read_fd)
    os.close(write_fd)


class _Lost(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, error):
        self.lost.set_result(None)


@contextlib.asynccontextmanager
async def _connect_close():
    loop = asyncio.get_running_loop()
    # Many listeners: closed connections keep their ports for a while.
    servers = [await loop.create_server(asyncio.Protocol, f"127.0.0.{i + 1}", 0)
               for i in range(LISTENERS_COUNT)]
    addresses = [server.sockets[0].getsockname() for server in servers]

    async def batch():
        for address in addresses:
            transport, protocol = await loop.create_connection(_Lost, *address)
            transport.close()
            await protocol.lost
        return len(addresses)

    yield batch
    for server in servers:
        server.close()


@contextlib.asynccontextmanager
async def _subprocess():
    async def batch(count=4):
        for _ in range(count):
            process = await asyncio.create_subprocess_exec("/bin/true")
            await process.wait()
        return count

    yield batch


@contextlib.asynccontextmanager
async def _short_sleep():
    async def batch(count=20):
        for _ in range(count):
            await asyncio.sleep(SLEEP_SECONDS)
        return count

    yield batch


@contextlib.asynccontextmanager
async def _redis_client(port):
    import redis.asyncio

    client = redis.asyncio.Redis(host="127.0.0.1", port=port, max_connections=50)
    await client.set("key", b"x" * 64)
    yield client
    await client.aclose()


@contextlib.asynccontextmanager
async def _redis(port):
    async with _redis_client(port) as client:
        async def get(count):
            for _ in range(count):
                await client.get("key")

        async def batch(tasks=50, count=10):
            await asyncio.gather(*[get(count) for _ in range(tasks)])
            return tasks * count

        yield batch


@contextlib.asynccontextmanager
async def _redis_pipeline(port):
    async with _redis_client(port) as client:
        async def get(count):
            pipeline = client.pipeline(transaction=False)
            for _ in range(count):
                pipeline.get("key")
            await pipeline.execute()

        async def batch(tasks=50, count=10):
            await asyncio.gather(*[get(count) for _ in range(tasks)])
            return tasks * count

        yield batch


@contextlib.asynccontextmanager
async def _asyncpg(port, connections_count=20):
    import asyncpg

    connections = [
        await asyncpg.connect(host="127.0.0.1", port=port, user="postgres",
                              database="postgres", ssl=False)
        for _ in range(connections_count)]

    async def fetch(connection, count):
        for _ in range(count):
            await connection.fetchval("select 1")

    async def batch(count=10):
        await asyncio.gather(*[fetch(one, count) for one in connections])
        return connections_count * count

    yield batch
    for connection in connections:
        await connection.close()


@contextlib.asynccontextmanager
async def _aiohttp_client(server_tls=None, client_tls=None):
    import aiohttp
    from aiohttp import web

    from benchmarks.scenarios.servers import aiohttp_hello

    runner = await aiohttp_hello()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls)
    await site.start()
    scheme = "http" if server_tls is None else "https"
    url = "{}://{}:{}/".format(scheme, *runner.addresses[0])

    async with aiohttp.ClientSession() as session:
        async def get(count):
            for _ in range(count):
                async with session.get(url, ssl=client_tls or True) as response:
                    await response.read()

        async def batch(tasks=16, count=10):
            await asyncio.gather(*[get(count) for _ in range(tasks)])
            return tasks * count

        yield batch
    await runner.cleanup()


def _aiohttp_client_tls(certificate):
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate)
    client_tls = ssl.create_default_context(cafile=certificate)
    # The certificate names no host.
    client_tls.check_hostname = False
    return _aiohttp_client(server_tls, client_tls)


@contextlib.asynccontextmanager
async def _broadcast(clients_count=500):
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import broadcast, serve

    async def wait_for_end(connection):
        await connection.wait_closed()

    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serve(wait_for_end, "127.0.0.1", 0, compression=None))
        port = server.sockets[0].getsockname()[1]
        clients = [await stack.enter_async_context(
            connect(f"ws://127.0.0.1:{port}", compression=None))
            for _ in range(clients_count)]

        async def batch():
            broadcast(server.connections, b"x" * 64)
            await asyncio.gather(*[client.recv() for client in clients])
            return clients_count

        yield batch


BODIES = {
    "call_soon_chain": _call_soon_chain,
    "call_soon_burst": _call_soon_burst,
    "timer_churn": _timer_churn,
    "sleep_zero": _sleep_zero,
    "task_gather": _task_gather,
    "threadsafe": _threadsafe,
    "executor": _executor,
    "pipe_reader": _pipe_reader,
    "connect_close": _connect_close,
    "subprocess": _subprocess,
    "short_sleep": _short_sleep,
    "aiohttp_client": _aiohttp_client,
    "aiohttp_client_tls": _aiohttp_client_tls,
    "broadcast": _broadcast,
    "redis": _redis,
    "redis_pipeline": _redis_pipeline,
    "asyncpg": _asyncpg,
}
