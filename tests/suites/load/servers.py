"""The servers under load: HTTP by three projects, and an echo by websockets."""

import asyncio
import contextlib
import socket


def listener():
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def application():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def hello(request):
        return PlainTextResponse("Hello, world!")

    async def long(request):
        async def parts():
            for _ in range(20):
                yield bytes(5000)
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    return Starlette(routes=[Route("/", hello), Route("/long", long)])


@contextlib.asynccontextmanager
async def uvicorn():
    import uvicorn

    with listener() as sock:
        server = uvicorn.Server(uvicorn.Config(
            application(), loop="none", log_level="warning", access_log=False))
        task = asyncio.ensure_future(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield sock.getsockname()[1]
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def hypercorn():
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    with listener() as sock:
        config = Config()
        config.bind = [f"fd://{sock.fileno()}"]
        config.errorlog = None
        ended = asyncio.Event()
        task = asyncio.ensure_future(
            serve(application(), config, shutdown_trigger=ended.wait))
        yield sock.getsockname()[1]
        ended.set()
        await task
        sock.detach()  # hypercorn has closed the descriptor


@contextlib.asynccontextmanager
async def aiohttp():
    from aiohttp import web

    async def hello(request):
        return web.Response(text="Hello, world!")

    async def long(request):
        response = web.StreamResponse()
        # The load ends in the middle of an answer.
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            for _ in range(20):
                await response.write(bytes(5000))
        return response

    app = web.Application()
    app.add_routes([web.get("/", hello), web.get("/long", long)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with listener() as sock:
        await web.SockSite(runner, sock).start()
        yield sock.getsockname()[1]
        await runner.cleanup()


@contextlib.asynccontextmanager
async def websockets():
    from websockets.asyncio.server import serve

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    # zlib's memory for as many connections as happen to be open would hide a leak.
    async with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as server:
        yield server.sockets[0].getsockname()[1]


SERVERS = {f.__name__: f for f in (uvicorn, hypercorn, aiohttp, websockets)}
