"""An ASGI application served at one address by a uvicorn server in each thread.

    python -m uring_loop run --threads 2 asgi_threads:main --port 8000
    curl http://127.0.0.1:8000/

Each answer names its thread. Ctrl-C stops all servers; requests that are being
answered are finished. The threads share the application object, so nothing in it may
belong to one loop: what a request needs from its loop (a connection pool, a lock) is
made in `lifespan`, which runs in each thread. On a CPython with a GIL the threads take
turns; on a free-threaded one each runs on its own core.
"""

import argparse
import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request with the thread and the backend that served it."""
    if scope["type"] == "lifespan":
        await lifespan(scope["state"], receive, send)
        return
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = json.dumps({**scope["state"], "path": scope["path"]}).encode() + b"\n"
    await send({
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    })
    await send({"type": "http.response.body", "body": body})


async def lifespan(state: Message, receive: Receive, send: Send) -> None:
    """The state of one thread: each request that it serves gets a copy."""
    state["thread"] = threading.current_thread().name
    state["backend"] = getattr(asyncio.get_running_loop(), "backend", None)
    while True:
        kind = (await receive())["type"]        # lifespan.startup or .shutdown
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def listening_socket(host: str, port: int) -> socket.socket:
    """One of several at the address, between which the kernel spreads connections."""
    return socket.create_server((host, port), backlog=2048, reuse_port=True)


async def main() -> None:
    """Runs in each thread until it is cancelled."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    listener = listening_socket(options.host, options.port)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on"))
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        # Alone, uvicorn is stopped by a signal. Only the main thread gets one.
        await server.shutdown(sockets=[listener])
        raise
