"""How often the loop asks the kernel, counted with strace: counts, not times."""

import collections
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: apt install strace")

CALLS = ("io_uring_enter,epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,"
         "recvfrom,recvmsg,read,sendto")
MESSAGES = 300
ITERATIONS = 10_000

ITERATE = f"""
import uring_loop
loop = uring_loop.new_event_loop(backend="io_uring")
left = {ITERATIONS}
def again():
    global left
    left -= 1
    loop.call_soon(again) if left else loop.stop()
loop.call_soon(again)
loop.run_forever()
loop.close()
"""

SERVE = """
import asyncio, uring_loop
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
    def connection_lost(self, exc):
        over.set_result(None)
async def main():
    global over
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over
    server.close()
uring_loop.run(main(), backend="io_uring")
"""


def start(source, log, calls=CALLS, *arguments):
    return subprocess.Popen(
        ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", log,
         sys.executable, "-P", "-c", source, *arguments],
        stdout=subprocess.PIPE, text=True)


def counted(log, since=""):
    """Calls by name, from the line on that has `since` in it."""
    lines = log.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if since in line)
    names = (re.match(r"\d+ +(?:<\.\.\. )?(\w+)\(", line) for line in lines[first:])
    return collections.Counter(match[1] for match in names if match)


def test_iterations_with_ready_handles_make_no_system_call(tmp_path):
    log = tmp_path / "calls"
    with start(ITERATE, log) as process:
        assert process.wait() == 0
    calls = counted(log)
    assert 0 < calls["io_uring_enter"] < 20
    assert not any(calls[name] for name in calls if "poll" in name)


def test_a_small_message_costs_one_enter_and_one_send(tmp_path):
    log = tmp_path / "calls"
    with start(SERVE, log) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as peer:
            for _ in range(MESSAGES):
                peer.sendall(b"small")
                assert peer.recv(100) == b"small"
        assert process.wait() == 0
    calls = counted(log, since='"small"')
    assert calls["sendto"] == MESSAGES
    assert calls["recvfrom"] == calls["recvmsg"] == 0
    assert not any(calls[name] for name in calls if "poll" in name)
    assert MESSAGES <= calls["io_uring_enter"] + 1 <= MESSAGES + 20


ECHO = """
import asyncio, socket, sys, uring_loop
async def main():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        connection, _ = await loop.sock_accept(listener)
    with connection:
        while data := await loop.sock_recv(connection, 100):
            await loop.sock_sendall(connection, data)
uring_loop.run(main(), backend=sys.argv[1])
"""


def calls_of_echoes(tmp_path, backend):
    """The system calls of a process that echoes MESSAGES by sock_*(), once it does."""
    log = tmp_path / "calls"
    with start(ECHO, log, CALLS + ",epoll_ctl", backend) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as peer:
            for _ in range(MESSAGES):
                # strace slows the loop down: without a rest it would never wait.
                time.sleep(0.001)
                peer.sendall(b"small")
                assert peer.recv(100) == b"small"
        assert process.wait() == 0
    return counted(log, since='"small"')


def test_waits_of_one_socket_follow_one_another_without_epoll_ctl(tmp_path):
    calls = calls_of_echoes(tmp_path, "io_uring")
    assert calls["sendto"] == MESSAGES
    # One look for a report; checks of waits that last, and their timer, are few.
    assert calls["epoll_wait"] >= MESSAGES // 2
    assert calls["epoll_ctl"] <= MESSAGES // 4
    assert calls["epoll_wait"] <= MESSAGES * 1.25
    assert calls["io_uring_enter"] <= MESSAGES * 1.5


REPORTS = """
import os, sys, uring_loop
loop = uring_loop.new_event_loop(backend=sys.argv[1])
receiving, sending = os.pipe()
left = MESSAGES
def readable():
    global left
    os.read(receiving, 10)
    left -= 1
    if left:
        os.write(sending, b"small")
    else:
        loop.stop()
loop.add_reader(receiving, readable)
os.write(sending, b"small")
loop.run_forever()
loop.close()
""".replace("MESSAGES", str(MESSAGES))


def test_on_epoll_a_report_costs_one_wait(tmp_path):
    log = tmp_path / "calls"
    with start(REPORTS, log, CALLS + ",epoll_ctl", "epoll") as process:
        assert process.wait() == 0
    calls = counted(log, since='"small"')
    # And some that try, less and less often, whether the pipe stays ready.
    assert MESSAGES <= calls["epoll_wait"] + calls["epoll_pwait2"] <= MESSAGES + 8
    assert calls["epoll_ctl"] <= 3
    assert calls["poll"] == calls["ppoll"] == 0


def test_on_epoll_a_wait_costs_two_looks(tmp_path):
    """One that sleeps, and one while the task that was told is ready to run."""
    calls = calls_of_echoes(tmp_path, "epoll")
    assert calls["epoll_ctl"] <= MESSAGES // 4
    assert calls["epoll_wait"] + calls["epoll_pwait2"] <= MESSAGES * 2.5
