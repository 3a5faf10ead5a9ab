"""One coroutine function in several threads, each with a loop: `run --threads`."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from . import kit
from .test_run import RUN, drivers, needs, python

ABOUT = """
import asyncio, json, sys, threading

async def main():
    loop = asyncio.get_running_loop()
    # One write: the threads share the stream.
    print(json.dumps([threading.current_thread().name, loop.backend, sys.argv]) + "\\n",
          end="", flush=True)

class Inner:
    main = main
"""

# Says what it does; the clean-up needs another task of the same loop.
WAITING = """
import asyncio, sys, threading

def say(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()

async def helper(asked, answer):
    await asked.wait()
    answer.set()

async def main():
    asked, answer = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(helper(asked, answer))
    first = threading.current_thread().name == "run-0"
    say("waits")
    try:
        await asyncio.sleep(0 if first and sys.argv[1:] else 3600)
        exec(sys.argv[1])
    finally:
        asked.set()
        await answer.wait()
        say("cleaned")
        if sys.argv[1:] == ["hang"]:
            await asyncio.sleep(3600)
"""


@pytest.fixture
def module(tmp_path):
    def write(source):
        (tmp_path / "program.py").write_text(source)
        return tmp_path
    return write


@contextlib.contextmanager
def started(folder, *arguments):
    variables = dict(os.environ)
    variables.pop("PYTHONSAFEPATH", None)
    process = subprocess.Popen(
        [sys.executable, *RUN, *arguments], text=True, cwd=folder, env=variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        try:
            yield process
        finally:
            process.kill()


@drivers
@pytest.mark.parametrize("name", ["main", "Inner.main"])
def test_the_function_runs_in_each_thread_with_a_loop_of_ours(module, driver, name):
    needs(driver)
    target = f"program:{name}"
    ended = python(*RUN, "--threads", "3", f"--driver={driver}", target, "-x",
                   "--threads", cwd=module(ABOUT))
    assert ended.returncode == 0, ended.stderr
    assert sorted(map(json.loads, ended.stdout.splitlines())) == [
        [f"run-{number}", driver, [target, "-x", "--threads"]] for number in range(3)]


@drivers
@pytest.mark.parametrize("source, status, said", [
    ("1 / 0", 1, "ZeroDivisionError"), ("raise SystemExit(7)", 7, ""),
    ("raise asyncio.CancelledError", 0, "")])
def test_how_one_call_ends(module, driver, source, status, said):
    """An exception cancels the other call, which may clean up with its loop's tasks."""
    needs(driver)
    if status == 0:
        source = WAITING.replace("3600)", "0)"), source
    else:
        source = WAITING, source
    ended = python(*RUN, "--driver", driver, "--threads", "2", "program:main",
                   source[1], cwd=module(source[0]))
    assert ended.returncode == status
    assert said in ended.stderr
    assert ended.stdout.split().count("waits") == 2
    assert ended.stdout.split().count("cleaned") == 2


@drivers
@pytest.mark.parametrize("number, status", [
    (signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_cancels_all_calls(module, driver, number, status):
    needs(driver)
    with started(module(WAITING), "--driver", driver, "--threads", "2",
                 "program:main") as process:
        assert [process.stdout.readline() for _ in range(2)] == ["waits\n"] * 2
        process.send_signal(number)
        output, _ = process.communicate(timeout=kit.SECONDS)
    assert (output, process.returncode) == ("cleaned\n" * 2, status)


SIGNALS = """
import os, random, signal, threading
from uring_loop.cli.in_threads import Events, signals_go_to

def send():
    while True:
        asked.acquire()
        for _ in range(random.randrange(400)):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

asked = threading.Semaphore(0)
threading.Thread(target=send, daemon=True).start()
with Events() as events:
    for _ in range(500):
        with signals_go_to(events):
            asked.release()
            assert events.get() == signal.SIGTERM
print("all")
"""


def test_no_signal_is_lost_that_comes_just_before_the_wait():
    """A wait for a lock, such as Queue.get(), loses one of ten."""
    ended = python("-c", SIGNALS)
    assert ended.stdout == "all\n", ended.stderr


def test_a_second_signal_ends_what_does_not_end(module):
    source = WAITING.replace('["hang"]', "[]")
    with started(module(source), "--threads", "2", "program:main") as process:
        assert [process.stdout.readline() for _ in range(2)] == ["waits\n"] * 2
        process.send_signal(signal.SIGTERM)
        assert [process.stdout.readline() for _ in range(2)] == ["cleaned\n"] * 2
        process.send_signal(signal.SIGINT)
        assert process.wait(kit.SECONDS) == -signal.SIGINT


@pytest.mark.parametrize("arguments, said", [
    (["--threads"], "needs a value"), (["--threads", "0", "a:b"], "'0'"),
    (["--threads=-1", "a:b"], "'-1'"), (["--threads", "2"], "name a program"),
    (["--threads", "2", "script.py"], "MODULE:FUNCTION"),
    (["--threads", "2", ":b"], "MODULE:FUNCTION"),
    (["--threads", "2", "-m", "module"], "MODULE:FUNCTION")])
def test_what_it_cannot_run_in_threads(arguments, said):
    ended = python(*RUN, *arguments)
    assert ended.returncode == 2 and said in ended.stderr


SERVER = """
import asyncio, sys, threading

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    name = threading.current_thread().name.encode()
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + name)
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(
        answer, "127.0.0.1", int(sys.argv[1]), reuse_port=True)
    sys.stdout.write("listens\\n")
    sys.stdout.flush()
    await server.serve_forever()
"""


@drivers
def test_all_threads_serve_one_address(module, driver):
    needs(driver)
    # The port stays taken until the threads share it.
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
        with started(module(SERVER), "--driver", driver, "--threads", "2",
                     "program:main", port) as process:
            assert [process.stdout.readline() for _ in range(2)] == ["listens\n"] * 2
            served = set()
            # By a hash of the addresses: both answer sooner or later.
            while served != {b"run-0", b"run-1"}:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    served.add(answer.read())
            process.send_signal(signal.SIGTERM)
            assert process.wait(kit.SECONDS) == 128 + signal.SIGTERM
