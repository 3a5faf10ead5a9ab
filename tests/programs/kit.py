"""Runs a recipe in a folder of its own, and reads which loop and driver served."""

import contextlib
import http.client
import importlib.util
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops
from .page import RECIPES

SECONDS = PATIENCE_SECONDS
# Set by .ci/programs: a program that is not installed is a failure there.
REQUIRED = "URING_LOOP_PROGRAMS" in os.environ

# Beside each program: what it says of the loop in which it runs.
ABOUT = """
import asyncio, json

def about():
    loop = asyncio.get_running_loop()
    return json.dumps({"loop": type(loop).__module__,
                       "driver": getattr(loop, "backend", None)})
"""


def driver():
    """The driver that programs are to use: io_uring where the kernel allows it."""
    return "epoll" if loops.io_uring_refusal() else "io_uring"


def need(*modules):
    for name in modules:
        if importlib.util.find_spec(name) is None:
            message = f"{name} is not installed here: .ci/programs installs it"
            pytest.fail(message) if REQUIRED else pytest.skip(message)


def write(folder, heading, files, replace=()):
    """The recipe's files and those of the test. `replace` has pairs of strings, which
    stand for what a user has to fill in."""
    recipe = RECIPES[heading]
    (folder / "about.py").write_text(ABOUT)
    for name, text in {**recipe.files, **files}.items():
        for old, new in replace:
            text = text.replace(old, new)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return recipe.command or f"python {recipe.program}"


def environment(folder, extra):
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    given = {name: value for name, value in os.environ.items()
             if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    return {**given, "PATH": path, "PYTHONPATH": str(folder), "HOME": str(folder),
            "URING_LOOP_BACKEND": driver(), "PYTHONUNBUFFERED": "1", **extra}


def run(folder, heading, files, *, replace=(), arguments="", extra={}):
    """Run to the end; its output."""
    command = write(folder, heading, files, replace)
    with started(folder, f"{command} {arguments}", extra) as process:
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out
    return out


def serves(folder, heading, files, *, replace=(), arguments="", extra={}):
    """Start a server and ask it; {port} stands for its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    replace = [(old, new.format(port=port)) for old, new in replace]
    command = write(folder, heading, files, replace)
    command = f"{command} {arguments.format(port=port)}"
    with started(folder, command, extra) as process:
        found = ask(process, port)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=SECONDS)
    assert found == expected(), (found, out)


@contextlib.contextmanager
def started(folder, command, extra):
    """The process, with a group of its own, which ends with the context."""
    words = shlex.split(command)
    settings = {}
    while "=" in words[0]:
        name, _, settings[name] = words.pop(0).partition("=")
    if words[0] == "python":
        words[0] = sys.executable
    process = subprocess.Popen(
        words, cwd=folder, env=environment(folder, {**settings, **extra}), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(process, port):
    """What the server says about its loop, as soon as it answers."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return fetch(port)
        except (ConnectionRefusedError, ConnectionResetError):
            # It has not begun to listen: nothing tells when it does.
            time.sleep(0.05)
    process.kill()
    raise AssertionError(f"does not serve:\n{process.communicate()[0]}")


def fetch(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def expected():
    return {"loop": "uring_loop.loop", "driver": driver()}


def said(out):
    """The lines in which a program tells about its loop."""
    return [json.loads(line[line.index("{"):]) for line in out.splitlines()
            if '{"loop": ' in line]


def loop_names(out):
    """Of every loop that is shown in the output by its repr()."""
    return [part.split()[0] for part in out.split("<Loop backend=")[1:]]
