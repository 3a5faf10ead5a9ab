"""Subprocesses: pipes, exit codes, signals, streams, arguments."""

import asyncio
import signal
import subprocess
import sys

import pytest

from .endpoints import pattern
from .framework import parity

PIPE = subprocess.PIPE


class ProcessRecorder(asyncio.SubprocessProtocol):
    """A lane for each pipe and one for the process: between them order is timing."""

    def __init__(self, trace):
        self.trace = trace
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.trace.lane("process")("connection_made", transport.get_pid() > 0)

    def pipe_data_received(self, fd, data):
        self.trace.lane(f"pipe {fd}").data(data)

    def pipe_connection_lost(self, fd, exc):
        self.trace.lane(f"pipe {fd}")("lost", exc)

    def process_exited(self):
        self.trace.lane("process")("exited")

    def connection_lost(self, exc):
        self.trace.lane("process")("connection_lost", exc)
        self.over.set_result(None)


def python(code):
    return (sys.executable, "-S", "-c", code)


@pytest.mark.parametrize("code", [
    "pass",
    "raise SystemExit(3)",
    "import os; os.kill(os.getpid(), 9)",
    "import os; os.write(1, b'out'); os.write(2, b'err')",
])
@parity
async def test_how_a_process_ends(loop, trace, code):
    transport, protocol = await loop.subprocess_exec(
        lambda: ProcessRecorder(trace), *python(code)
    )
    await protocol.over
    trace("returncode", transport.get_returncode(), transport.is_closing())
    transport.close()
    for name in ("kill", "terminate"):
        trace.call(name, getattr(transport, name))
    trace.call("signal", transport.send_signal, signal.SIGINT)


@parity
async def test_talking_to_a_process(loop, trace):
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    for number in range(5):
        process.stdin.write(b"line %d\n" % number)
        await process.stdin.drain()
        await trace.wait("line", process.stdout.readline())
    process.stdin.close()
    await trace.wait("rest", process.stdout.read())
    await trace.wait("code", process.wait())


@parity
async def test_communicate_with_much(loop, trace):
    data = pattern(2 << 20)
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    out, err = await process.communicate(data)
    trace("echoed", out == data, err, process.returncode)


@parity
async def test_a_shell(loop, trace):
    process = await asyncio.create_subprocess_shell(
        "echo out; echo err >&2; exit 7", stdout=PIPE, stderr=PIPE
    )
    trace("said", *await process.communicate())
    trace("code", process.returncode)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
@parity
async def test_signals_to_a_process(loop, trace, number):
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    process.send_signal(number)
    await trace.wait("code", process.wait())
    trace.call("again", process.send_signal, number)


@parity
async def test_a_process_that_reads_nothing(loop, trace):
    process = await asyncio.create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(pattern(1 << 20))
    # Else early patch releases of 3.11 report it whenever it is collected.
    await asyncio.gather(process.stdin.wait_closed(), return_exceptions=True)
    trace("said", out, process.returncode)


@parity
async def test_many_processes(loop, trace):
    async def one(number):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"exit {number}", stdout=PIPE
        )
        out, _ = await process.communicate()
        return process.returncode, out

    trace("codes", await asyncio.gather(*(one(number) for number in range(12))))


@parity
async def test_wrong_arguments(loop, trace):
    def factory():
        return asyncio.SubprocessProtocol()

    execute, shell = loop.subprocess_exec, loop.subprocess_shell
    await trace.wait("no program", execute(factory, "/nonexistent/program"))
    await trace.wait("text", execute(factory, "true", universal_newlines=True))
    await trace.wait("text", execute(factory, "true", text=True))
    await trace.wait("encoding", execute(factory, "true", encoding="utf-8"))
    await trace.wait("errors", execute(factory, "true", errors="strict"))
    await trace.wait("shell", execute(factory, "true", shell=True))
    await trace.wait("bufsize", execute(factory, "true", bufsize=1))
    await trace.wait("number", execute(factory, 7))
    await trace.wait("list", execute(factory, ["true"]))
    await trace.wait("shell list", shell(factory, ["true"]))
    await trace.wait("shell=False", shell(factory, "true", shell=False))
    await trace.wait("cwd", execute(factory, "true", cwd="/nonexistent"))


@parity
async def test_a_process_killed_by_closing(loop, trace):
    transport, protocol = await loop.subprocess_exec(
        lambda: ProcessRecorder(trace), "sleep", "1000"
    )
    transport.close()
    await protocol.over
    trace("returncode", transport.get_returncode())


@parity
async def test_a_cancelled_wait(loop, trace):
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    await trace.wait("wait", asyncio.wait_for(process.wait(), 0.01))
    process.kill()
    await trace.wait("code", process.wait())


@parity
async def test_options_reach_the_child(loop, trace):
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", "pwd; echo $PARITY", cwd="/usr", env={"PARITY": "set"}, stdout=PIPE,
        start_new_session=True,
    )
    trace("said", *await process.communicate())
