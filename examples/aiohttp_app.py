"""An aiohttp application on uring_loop: HTTP, and a WebSocket echo.

    python examples/aiohttp_app.py
    curl http://127.0.0.1:8080/
    curl "http://127.0.0.1:8080/slow?seconds=1"

aiohttp's server takes the loop as an argument. A client needs no argument: it uses the
running loop.
"""

import argparse
import asyncio

from aiohttp import WSMsgType, web

import uring_loop


async def hello(request: web.Request) -> web.Response:
    loop = asyncio.get_running_loop()
    return web.json_response(
        {"hello": "world", "backend": getattr(loop, "backend", None)})


async def slow(request: web.Request) -> web.Response:
    """The loop serves other requests while this one sleeps."""
    try:
        seconds = min(float(request.query.get("seconds", "1")), 10)
    except ValueError:
        raise web.HTTPBadRequest(text="seconds is not a number\n") from None
    await asyncio.sleep(seconds)
    return web.Response(text=f"slept {seconds} s\n")


async def websocket_echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def make_app() -> web.Application:
    app = web.Application()
    app.add_routes([
        web.get("/", hello),
        web.get("/slow", slow),
        web.get("/ws", websocket_echo),
    ])
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    web.run_app(make_app(), host=options.host, port=options.port,
                loop=uring_loop.new_event_loop())
