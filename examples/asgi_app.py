"""An ASGI application served by uvicorn on uring_loop.

    python examples/asgi_app.py               or with uvicorn's own command:
    uvicorn --loop uring_loop:new_event_loop --app-dir examples asgi_app:app
    curl http://127.0.0.1:8000/

FastAPI, Starlette, Django and other ASGI frameworks run the same way: uvicorn makes the
loop, and the application does not depend on it. Needs uvicorn 0.36 or later.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers every request with the loop and the backend that served it."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    loop = asyncio.get_running_loop()
    body = json.dumps({
        "hello": "world",
        "path": scope["path"],
        "loop": type(loop).__module__,
        "backend": getattr(loop, "backend", None),
    }).encode() + b"\n"
    await send({
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    })
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """The server's start and end: the place to open and close what requests share."""
    while True:
        kind = (await receive())["type"]        # lifespan.startup or .shutdown
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    uvicorn.run(app, host=options.host, port=options.port,
                loop="uring_loop:new_event_loop")
