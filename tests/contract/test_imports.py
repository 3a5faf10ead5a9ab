"""What starting a loop imports, and what is imported when it is first needed."""

import inspect
import os
import subprocess
import sys

import pytest
import uring_loop

START = """
import asyncio, sys
before = set(sys.modules)
import uring_loop
uring_loop.new_event_loop().close()
print(*sorted(set(sys.modules) - before))
"""
NEEDED = {
    "", "_compat", "_version", "lazy", "loop", "running", "driver", "driver.backend",
    "driver.buffer_pool", "driver.options", "driver.ring", "scheduler",
    "scheduler.busy_poll", "scheduler.handles", "scheduler.loop_core",
    "scheduler.timer_heap", "scheduler.wakeup", "scheduler.watches"}


def test_a_loop_starts_with_what_it_needs():
    folder = os.path.dirname(os.path.dirname(uring_loop.__file__))
    answer = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": folder})
    names = {name for name in answer.stdout.split() if not name.startswith("_cython")}
    ours = {name.partition(".")[2] for name in names if name.startswith("uring_loop")}
    assert ours <= NEEDED
    assert "scheduler.loop_core" in ours
    assert "dataclasses" not in names


def test_every_public_name_is_listed_and_there():
    assert set(uring_loop.__all__) <= set(dir(uring_loop))
    missing = [n for n in uring_loop.__all__ if not hasattr(uring_loop, n)]
    assert missing == []


@pytest.mark.parametrize("name", [
    "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
    "sock_sendall", "sock_sendto", "sock_connect", "sock_accept", "getaddrinfo",
    "getnameinfo", "_sock_sendfile_native"])
def test_a_method_imported_later_is_a_method(name):
    method = getattr(uring_loop.Loop, name)
    assert inspect.iscoroutinefunction(method)
    assert method.__name__ == name
    # The first look-up has put it in its place.
    assert vars(uring_loop.Loop)[name] is method


def test_a_subclass_reaches_the_method_that_it_overrides():
    """In a process where nobody has looked it up before."""
    code = """
import asyncio, socket, uring_loop
class Mine(uring_loop.Loop):
    async def sock_recv(self, sock, size):
        return b"mine " + await super().sock_recv(sock, size)
async def main():
    one, other = socket.socketpair()
    one.setblocking(False)
    other.send(b"bytes")
    with one, other:
        return await asyncio.get_running_loop().sock_recv(one, 10)
print(asyncio.Runner(loop_factory=Mine).run(main()))
"""
    folder = os.path.dirname(os.path.dirname(uring_loop.__file__))
    answer = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": folder})
    assert "b'mine bytes'" in answer.stdout, answer.stderr
