"""Runs every example against a real server or client, and checks the results.

    pip install -r examples/requirements.txt
    python examples/run_all.py

One line for each; the exit status is the number of those that failed. The examples
have to run on io_uring, unless URING_LOOP_BACKEND says otherwise.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping

import uring_loop

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE_SECONDS = 60
REQUESTS = 50
# Where PyGObject is: Debian has it for its own Python only.
DEBIAN = "/usr/lib/python3/dist-packages"


class Failed(Exception):
    """An example did not do what it promises."""


def check(fact: object, message: str) -> None:
    if not fact:
        raise Failed(message)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# ---- processes ------------------------------------------------------------------


async def start(*arguments: object, environment: Mapping[str, str] = {}) -> Process:
    """Start an example as a process, whose output can be read line by line."""
    # -P: the package is the installed one, not the sources beside this folder.
    # -u: aiohttp reports its start by a print, which would stay in the buffer.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-Pu", *map(str, arguments), cwd=HERE,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT)


async def finish(process: Process, status: int = 0) -> str:
    """The rest of its output; it has to end by itself with this status."""
    # With (empty) input: before Python 3.12, stdin would not be closed without.
    output, _ = await process.communicate(b"" if process.stdin else None)
    text = output.decode(errors="replace")
    check(process.returncode == status,
          f"exit status {process.returncode}: {text.strip()[-2000:]}")
    return text


async def read_until(process: Process, words: str) -> str:
    """Its output up to a line with these words."""
    assert process.stdout is not None
    printed = ""
    while line := (await process.stdout.readline()).decode(errors="replace"):
        printed += line
        if words in line:
            return printed
    raise Failed(f"never said {words!r}: {printed.strip()[-2000:]}")


@contextlib.asynccontextmanager
async def serving(words: str, *arguments: object, status: int = 0,
                  environment: Mapping[str, str] = {}) -> AsyncIterator[int]:
    """A server on a free port that has printed `words`; Ctrl-C must end it with this
    status."""
    port = free_port()
    process = await start(*arguments, "--port", port, environment=environment)
    try:
        await read_until(process, words)
        yield port
        process.send_signal(signal.SIGINT)
        await finish(process, status)
    finally:
        await stop(process)


async def stop(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def run(*arguments: object, environment: Mapping[str, str] = {}) -> str:
    """Run to the end; returns the output."""
    process = await start(*arguments, environment=environment)
    try:
        return await finish(process)
    finally:
        await stop(process)


def fetch(url: str | urllib.request.Request) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())


# ---- examples -------------------------------------------------------------------


async def echo(backend: str) -> str:
    async with serving("echo server on", "echo_server.py") as port:
        small = await run("echo_client.py", "--port", port, "--count", 1000)
        big = await run("echo_client.py", "--port", port, "--count", 20,
                        "--size", 1_000_000)
    for text in (small, big):
        check(f"backend {backend}" in text, f"not on {backend}: {text}")
    return small.strip()


async def chat(backend: str) -> str:
    async with serving("chat server on", "chat_server.py") as port:
        alice = await start("chat_client.py", "alice", "--port", port)
        bob = await start("chat_client.py", "bob", "--port", port)
        try:
            await read_until(alice, "2 in the room")
            await read_until(bob, "2 in the room")
            assert alice.stdin is not None
            alice.stdin.write(b"good morning\n")
            await read_until(bob, "alice: good morning")
            alice.stdin.close()
            await read_until(bob, "* alice has left")
            text = await finish(bob)
            await finish(alice)
        finally:
            await stop(alice)
            await stop(bob)
    check(f"backend {backend}" in text, f"not on {backend}: {text}")
    return "a line from alice reached bob"


async def requests(port: int, backend: str) -> str:
    """GET / a number of times; every answer names the backend."""
    url = f"http://127.0.0.1:{port}/"
    answers = await asyncio.gather(
        *(asyncio.to_thread(fetch, url) for _ in range(REQUESTS)))
    for answer in answers:
        check(json.loads(answer)["backend"] == backend,
              f"not on {backend}: {answer!r}")
    return f"{len(answers)} requests"


async def asgi(backend: str) -> str:
    async with serving("running on", "asgi_app.py") as port:
        return await requests(port, backend)


async def asgi_by_command(backend: str) -> str:
    arguments = ("-m", "uvicorn", "--loop", "uring_loop:new_event_loop",
                 "asgi_app:app")
    async with serving("running on", *arguments) as port:
        return await requests(port, backend)


async def aiohttp(backend: str) -> str:
    async with serving("Running on", "aiohttp_app.py") as port:
        slow = await asyncio.to_thread(
            fetch, f"http://127.0.0.1:{port}/slow?seconds=0.01")
        check(slow == b"slept 0.01 s\n", f"/slow said {slow!r}")
        check(await websocket_echo(port) == "ping", "/ws did not echo")
        return await requests(port, backend)


async def websocket_echo(port: int) -> str:
    import aiohttp as client

    async with (client.ClientSession() as session,
                session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket):
        await socket.send_str("ping")
        return await socket.receive_str(timeout=10)


async def iothreads(backend: str) -> str:
    text = await run("iothread_disk_and_net.py", "--seconds", 2)
    last = text.strip().splitlines()[-1]
    numbers = [int(word) for word in last.split() if word.isdigit()]
    check(len(numbers) == 2 and all(numbers), f"no work done: {text}")
    check(f" {backend} " in text, f"not on {backend}: {text}")
    return last


async def sharded(backend: str) -> str:
    async with serving("serving", "sharded_server.py", "--threads", 2) as port:
        text = await served_by({"shard-0", "shard-1"}, port, backend)
        return f"{text}; {await load(f'http://127.0.0.1:{port}/')}"


async def aiohttp_threads(backend: str) -> str:
    # The second of the two threads has begun when both are seen.
    async with serving("serves port", "aiohttp_threads.py", "--threads", 2) as port:
        return await served_by({"web-0", "web-1"}, port, backend)


async def asgi_threads(backend: str) -> str:
    arguments = ("-m", "uring_loop", "run", "--threads", 2, "asgi_threads:main")
    # With -P it is not found otherwise.
    async with serving("startup complete", *arguments, status=-signal.SIGINT,
                       environment={"PYTHONPATH": str(HERE)}) as port:
        return await served_by({"run-0", "run-1"}, port, backend)


async def served_by(names: set[str], port: int, backend: str) -> str:
    """GET / until each of the threads has answered."""
    seen: set[str] = set()
    count = 0
    while seen != names or count < REQUESTS:
        answer = json.loads(await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/"))
        check(answer["backend"] == backend, f"not on {backend}: {answer}")
        seen.add(answer["thread"])
        check(seen <= names, f"served by {seen}")
        count += 1
    return f"{count} requests to {len(names)} threads"


async def load(url: str) -> str:
    if shutil.which("wrk") is None:
        return "no wrk here"
    wrk = await asyncio.create_subprocess_exec(
        "wrk", "-t", "1", "-c", "16", "-d", "2", url, stdout=asyncio.subprocess.PIPE)
    text = (await finish(wrk)).strip()
    check("Non-2xx" not in text and "Socket errors" not in text, text)
    return "wrk: " + next(line for line in text.splitlines() if "Requests/sec" in line)


async def static_files(backend: str) -> str:
    arguments = ("static_files.py", "--folder", HERE)
    async with serving("Running on", *arguments) as port:
        url = f"http://127.0.0.1:{port}/run_all.py"
        whole = await asyncio.to_thread(fetch, url)
        check(whole == (HERE / "run_all.py").read_bytes(), "another file came")
        part = await asyncio.to_thread(
            fetch, urllib.request.Request(url, headers={"Range": "bytes=10-19"}))
        check(part == whole[10:20], f"the range was {part!r}")
        try:
            await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/%2e%2e/setup.py")
            raise Failed("served what is outside of its folder")
        except urllib.error.HTTPError as exc:
            check(exc.code == 404, f"outside of the folder: {exc.code}")
        return f"{len(whole)} bytes, and 10 of them"


async def poll_host(backend: str) -> str:
    text = await run("poll_host.py")
    check(f"turn 2 on {backend}" in text, f"not on {backend}: {text}")
    return text.strip().splitlines()[-1]


async def tests_with_hook(backend: str) -> str:
    return await run_pytest("pytest_hook")


async def tests_with_policy(backend: str) -> str:
    return await run_pytest("pytest_policy")


async def run_pytest(folder: str) -> str:
    text = await run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder)
    check(" passed" in text, text)
    return text.strip().splitlines()[-1].strip("= ")


async def glib_http(backend: str) -> str:
    """Run in the system's Python, which has PyGObject."""
    sys.path.append(DEBIAN)
    try:
        import gi  # noqa: F401
    finally:
        sys.path.remove(DEBIAN)
    text = await run("glib_http.py", environment={"PYTHONPATH": DEBIAN})
    check("20 pages say {'Hello, GLib!'}" in text, text)
    check(f"backend {backend}" in text, f"not on {backend}: {text}")
    return text.strip().splitlines()[-1]


async def tk_chat(backend: str) -> str:
    async with x_server() as display:
        text = await run("tk_chat.py", "--say", "one", "two", "--quit-after", "2",
                         environment={"DISPLAY": display})
    check(f"2 lines in tkinter's window, backend {backend}" in text, text)
    return text.strip()


@contextlib.asynccontextmanager
async def x_server() -> AsyncIterator[str]:
    """The name of a virtual display."""
    process = await asyncio.create_subprocess_exec(
        "Xvfb", "-displayfd", "1", "-nolisten", "tcp",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield ":" + (await process.stdout.readline()).decode().strip()
    finally:
        await stop(process)


async def qt_window(backend: str) -> str:
    text = await run("qt_window.py", environment={"QT_QPA_PLATFORM": "offscreen"})
    check(f"the label says '100 answers', backend {backend}" in text, text)
    return text.strip()


EXAMPLES = [echo, chat, asgi, asgi_by_command, asgi_threads, aiohttp, aiohttp_threads,
            static_files, iothreads, sharded, poll_host, tests_with_hook, tk_chat,
            qt_window]
# Elsewhere PyGObject would have to be compiled.
if sys.base_prefix == "/usr":
    EXAMPLES.append(glib_http)
if hasattr(uring_loop, "EventLoopPolicy"):
    EXAMPLES.append(tests_with_policy)


async def main(backend: str) -> int:
    failures = 0
    for example in EXAMPLES:
        begin = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                result = "ok      ", await example(backend)
        except TimeoutError:
            result = "FAILED  ", f"not done after {DEADLINE_SECONDS} s"
        except Exception as exc:
            result = "FAILED  ", str(exc) or repr(exc)
        failures += result[0] != "ok      "
        seconds = time.monotonic() - begin
        print(f"{result[0]}{example.__name__} ({seconds:.1f} s): {result[1]}",
              flush=True)
    return failures


if __name__ == "__main__":
    # A process started in a shell's background ignores SIGINT, and so would the
    # servers.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("URING_LOOP_BACKEND", "io_uring")
    # Raises, with the reason, if io_uring is required and not available.
    loop = uring_loop.new_event_loop()
    loop.close()
    sys.exit(asyncio.run(main(loop.backend)))
