"""Real HTTP servers in processes of their own, started and stopped for a test."""

import collections
import contextlib
import http.client
import re
import signal
import subprocess
import sys
import threading

from tests.slowness import PATIENCE_SECONDS

# A server starts several Pythons.
SECONDS = 2 * PATIENCE_SECONDS

# The application: who serves, on which backend, and an echo. It needs no framework.
APPLICATION = """
import asyncio, json, os, urllib.parse

def about():
    loop = asyncio.get_running_loop()
    return json.dumps({
        "pid": os.getpid(),
        "backend": getattr(loop, "backend", "stock"),
        "reason": getattr(loop, "backend_reason", ""),
    }).encode()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"].rpartition(".")[2]
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = body if scope["path"] == "/echo" else about()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})

def web_application():
    from aiohttp import web

    async def handle(request):
        body = await request.read()
        return web.Response(body=body if request.path == "/echo" else about())

    application = web.Application(client_max_size=1 << 30)
    application.add_routes([web.get("/", handle), web.post("/echo", handle)])
    return application
"""

AIOHTTP = """
import asyncio, socket, sys
sys.path.insert(0, "")
from aiohttp import web
import application
{make}
sock = socket.create_server(("127.0.0.1", 0))
print("port", sock.getsockname()[1], flush=True)
web.run_app(application.web_application(), sock=sock, loop=loop, print=None)
"""

MAKE = {
    "stock": "loop = asyncio.new_event_loop()",
    "ours": "import uring_loop; loop = uring_loop.new_event_loop()",
}
UVICORN_LOOP = {"stock": "asyncio", "ours": "uring_loop:new_event_loop"}
GUNICORN_INSTALL = {"stock": "", "ours": "import uring_loop; uring_loop.install()"}

# Runs first in the server's process and then becomes the server. Filters stay.
LAUNCH = """
import os, sys
{prelude}
os.execv(sys.executable, [sys.executable, *{argv}])
"""


class Server:
    """A process that serves on `port`; the lines that it says are kept."""

    def __init__(self, folder, argv, prelude="", environment=None):
        (folder / "application.py").write_text(APPLICATION)
        source = LAUNCH.format(prelude=prelude, argv=argv)
        self.said = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", source], cwd=folder, text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def until(self, pattern):
        """Read what the server says up to a line with the pattern; the match."""
        # A parent whose workers cannot start may start them again for ever.
        deadline = threading.Timer(SECONDS, self.process.terminate)
        deadline.start()
        try:
            for line in self.process.stdout:
                self.said.append(line)
                if found := re.search(pattern, line):
                    return found
        finally:
            deadline.cancel()
        raise AssertionError(f"exit {self.process.wait()}:\n{''.join(self.said)}")

    def stop(self):
        """End it as an administrator does; everything it has said."""
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
            raise AssertionError(f"will not end:\n{''.join(self.said)}{rest}") from None
        return "".join(self.said) + rest


@contextlib.contextmanager
def running(server):
    try:
        yield server
    finally:
        server.stop()


def uvicorn(folder, whose, workers=1, **given):
    argv = ["-m", "uvicorn", "--loop", UVICORN_LOOP[whose], "--port", "0",
            "--no-access-log", "--workers", str(workers), "application:app"]
    server = Server(folder, argv, **given)
    running_on = r"running on http://127\.0\.0\.1:(\d+)"
    if workers > 1:
        # The parent says it before there is anybody who listens.
        server.port = int(server.until(running_on)[1])
    for _ in range(workers):
        server.until("Application startup complete")
    if workers == 1:
        server.port = int(server.until(running_on)[1])
    return server


def aiohttp(folder, whose, **given):
    server = Server(folder, ["-c", AIOHTTP.format(make=MAKE[whose])], **given)
    server.port = int(server.until(r"port (\d+)")[1])
    return server


def gunicorn(folder, whose, worker, **given):
    """The two kinds of worker that the README names, two processes of it."""
    (folder / "gunicorn.conf.py").write_text(GUNICORN_INSTALL[whose] + "\n")
    kind = ["-k", "asgi", "--asgi-loop", "asyncio", "application:app"]
    if worker == "aiohttp":
        kind = ["-k", "aiohttp.GunicornWebWorker", "application:web_application"]
        kind[-1] += "()"
    server = Server(folder, [
        "-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:0", "--pythonpath", str(folder),
        "--no-control-socket", *kind], **given)
    server.port = int(server.until(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
    return server


def client(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)


def ask(connection, method="GET", path="/", body=None):
    """One request; the body of the answer."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status == 200, data
    return data


def served_by(port, connections, who):
    """Who served how many of so many connections, one after the other."""
    served = collections.Counter()
    for _ in range(connections):
        with contextlib.closing(client(port)) as connection:
            served[who(ask(connection))] += 1
    return served
