"""The servers under load: HTTP by three projects, and an echo by websockets."""

import asyncio
import contextlib
import pathlib
import socket
import sys

WORKERS = {"asyncio": "uvicorn_worker.UvicornWorker"}


def listener():
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def application():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def hello(request):
        return PlainTextResponse("Hello, world!")

    async def driver(request):
        return PlainTextResponse(running_driver())

    async def long(request):
        async def parts():
            for _ in range(20):
                yield bytes(5000)
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    return Starlette(routes=[
        Route("/", hello), Route("/long", long), Route("/driver", driver)])


def running_driver():
    return getattr(asyncio.get_running_loop(), "backend", "asyncio")


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
async def gunicorn():
    """Two workers, in processes of their own, on one socket."""
    worker = WORKERS.get(running_driver(), "uring_loop.gunicorn.UvicornWorker")
    with listener() as sock:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gunicorn", "--workers", "2",
            "--worker-class", worker, "--bind", f"fd://{sock.fileno()}",
            "--log-level", "warning", "servers:application()",
            pass_fds=[sock.fileno()], cwd=pathlib.Path(__file__).parent)
        port = sock.getsockname()[1]
        if (served := await get(port, "/driver")) != running_driver():
            raise RuntimeError(f"gunicorn serves on {served}")
        yield port
        process.terminate()
        if status := await process.wait():
            raise RuntimeError(f"gunicorn's exit status is {status}")


async def get(port, path):
    """The body that a server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


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


SERVERS = {f.__name__: f for f in (uvicorn, gunicorn, hypercorn, aiohttp, websockets)}
