"""An aiohttp application served at one address by several threads.

    python examples/aiohttp_threads.py --threads 2
    curl http://127.0.0.1:8080/

Each answer names its thread, and says how many it has served. An application belongs
to one loop, so each thread makes one; objects that all of them use need locks of
`threading`. Ctrl-C stops the servers. On a CPython with a GIL the threads take turns;
on a free-threaded one each runs on its own core.
"""

import argparse
import asyncio
import threading

from aiohttp import web

import uring_loop

SERVED = web.AppKey("served", list[str])


async def hello(request: web.Request) -> web.Response:
    served = request.app[SERVED]
    served.append(request.path)
    return web.json_response({
        "thread": threading.current_thread().name,
        "backend": getattr(asyncio.get_running_loop(), "backend", None),
        "served": len(served),
    })


def make_app() -> web.Application:
    """The application of one thread, with a state that no other thread sees."""
    app = web.Application()
    app[SERVED] = []
    app.add_routes([web.get("/", hello)])
    return app


async def serve(host: str, port: int) -> None:
    """Serve in this thread until cancelled."""
    # Not web.run_app(), which handles signals: only the main thread can.
    runner = web.AppRunner(make_app(), handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=True).start()
        print(f"{threading.current_thread().name} serves port {port}\n", end="",
              flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(options: argparse.Namespace) -> None:
    with uring_loop.IOThreadGroup(options.threads, "web") as group:
        servers = [thread.run(serve(options.host, options.port))
                   for thread in group.threads]
        try:
            for server in servers:
                server.result()
        except KeyboardInterrupt:
            # The end of the block cancels serve() in each thread and waits for it.
            pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    main(parser.parse_args())
