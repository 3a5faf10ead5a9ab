"""The clients: each runs its tasks while `more()` is true and counts what they did."""

import asyncio
import os
import ssl

TASKS_COUNT = 50
PAYLOAD = os.urandom(20_000)


async def redis(port, more):
    """50 tasks on one pool: pipelines, small and large values."""
    from redis.asyncio import Redis

    async def one(number):
        done = 0
        while more():
            await client.set(f"k{number}", PAYLOAD[: 1 << done % 15])
            value = await client.get(f"k{number}")
            check(value == PAYLOAD[: 1 << done % 15])
            async with client.pipeline() as pipe:
                first, *_ = await pipe.incr(f"n{number}").incr(f"n{number}").execute()
            check(first == 2 * done + 1)
            done += 1
        return done

    async with Redis(host="127.0.0.1", port=port) as client:
        await client.flushdb()
        return await asyncio.gather(*map(one, range(TASKS_COUNT)))


async def asyncpg(port, more):
    """50 tasks share a pool of 20: queries, transactions, cursors, COPY, a timeout."""
    import asyncpg

    async def one(number):
        done = 0
        while more():
            async with pool.acquire() as connection:
                check(await connection.fetchval("select $1::int + 1", done) == done + 1)
                rows = await connection.fetch(
                    "select i, repeat('x', 100) from generate_series(1, 200) i")
                check(len(rows) == 200)
                async with connection.transaction():
                    cursor = connection.cursor("select generate_series(1, 100)")
                    check(len([row async for row in cursor]) == 100)
                if done % 50 == number:
                    await cut_short(connection)
            done += 1
        return done

    async def cut_short(connection):
        try:
            await connection.execute("select pg_sleep(5)", timeout=0.05)
        except asyncio.TimeoutError:
            return
        raise AssertionError("a query of 5 s took less than 0.05 s")

    async with asyncpg.create_pool(
        host="127.0.0.1", port=port, user="postgres", database="postgres",
        min_size=20, max_size=20,
    ) as pool:
        return await asyncio.gather(*map(one, range(TASKS_COUNT)))


async def websockets(port, more):
    """200 clients that send messages of many sizes; some close and come again."""
    from websockets.asyncio.client import connect

    async def one(number):
        done = 0
        while more():
            async with connect(
                f"ws://127.0.0.1:{port}", max_size=None, compression=None
            ) as connection:
                for size in (1, 200, 3000, 20_000):
                    await connection.send(PAYLOAD[:size])
                    check(await connection.recv() == PAYLOAD[:size])
                    done += 1
        return done

    return await asyncio.gather(*map(one, range(200)))


async def https(port, more):
    """asyncio's streams and TLS against openssl s_server, a connection a request."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def one(number):
        done = 0
        while more():
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            check(answer.startswith(b"HTTP/1.0 200 ok"))
            writer.close()
            await writer.wait_closed()
            done += 1
        return done

    return await asyncio.gather(*map(one, range(10)))


def check(fact):
    if not fact:
        raise AssertionError("an answer was not what it had to be")


CLIENTS = {f.__name__: f for f in (redis, asyncpg, websockets, https)}
