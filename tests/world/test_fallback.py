"""A fallback to epoll is heard once, if an administrator could have prevented it."""

import json
import os

import pytest

from ..cli import kit
from ..parity import loops
from . import servers

MAKE_TWO = """
import uring_loop
for _ in range(2):
    loop = uring_loop.new_event_loop({arguments})
    print(loop.backend)
    loop.close()
"""
FORBIDDEN = kit.WORLDS["EPERM"]


def heard(world, arguments="", source=MAKE_TWO, **environment):
    """(drivers of two loops, lines that the process wrote to stderr by itself)."""
    status, out, err = kit.run(
        source.format(arguments=arguments), world, **environment)
    assert status == 0, err
    return out.split(), err.splitlines()


def test_cause_and_cure_are_in_one_line_once_a_process():
    drivers, lines = heard(FORBIDDEN)
    assert drivers == ["epoll", "epoll"]
    assert len(lines) == 1
    for words in ("EPERM", "seccomp", "allow io_uring_setup", "falling back to epoll",
                  "URING_LOOP_BACKEND=epoll"):
        assert words in lines[0]


def test_asking_for_auto_is_no_choice():
    assert len(heard(FORBIDDEN, "backend='auto'")[1]) == 1
    assert len(heard(FORBIDDEN, URING_LOOP_BACKEND="auto")[1]) == 1


def test_naming_the_driver_silences_it():
    assert heard(FORBIDDEN, "backend='epoll'") == (["epoll", "epoll"], [])
    assert heard(FORBIDDEN, URING_LOOP_BACKEND="epoll") == (["epoll", "epoll"], [])


def test_a_kernel_without_io_uring_is_no_reason_to_warn():
    assert heard(kit.WORLDS["ENOSYS"]) == (["epoll", "epoll"], [])


def test_later_fallbacks_are_told_to_those_who_listen():
    drivers, lines = heard(FORBIDDEN + """
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s")
""")
    assert [line for line in lines if line.startswith("uring_loop")] == [
        "uring_loop WARNING", "uring_loop INFO"]


def test_threads_do_not_say_it_twice():
    _, lines = heard(FORBIDDEN, source="""
import uring_loop
with uring_loop.IOThreadGroup(8) as group:
    pass
""")
    assert len(lines) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="must be root to become somebody else")
def test_locked_memory_that_does_not_suffice_is_heard():
    loops.skip_where_io_uring_is_refused()
    drivers, lines = heard(kit.somebody(0))
    if drivers == ["io_uring", "io_uring"]:
        pytest.skip("this kernel does not count a ring's memory")
    assert drivers == ["epoll", "epoll"]
    assert len(lines) == 1 and "ENOMEM" in lines[0] and "RLIMIT_MEMLOCK" in lines[0]


# Root whose memory is counted as everybody's, so that it can go on reading its Python.
LITTLE_MEMORY = """
import ctypes, resource
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14
assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) == 0
resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 << 10, 64 << 10))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="must be root to give up a capability")
def test_each_worker_that_finds_no_memory_left_is_heard(tmp_path):
    """The memory suffices for some of the workers: they must not run mixed unheard."""
    loops.skip_where_io_uring_is_refused()
    if heard(kit.somebody(0))[0] == ["io_uring", "io_uring"]:
        pytest.skip("this kernel does not count a ring's memory")
    server = servers.uvicorn(tmp_path, "ours", workers=4, prelude=LITTLE_MEMORY,
                             environment=os.environ | {"URING_LOOP_BACKEND": "auto"})
    try:
        served = servers.served_by(
            server.port, 200, lambda body: tuple(json.loads(body).values()))
    finally:
        said = server.stop()
    warnings = [line for line in said.splitlines() if "falling back to epoll" in line]
    on_epoll = {pid for pid, driver, _ in served if driver == "epoll"}
    assert 1 <= len(warnings) <= 4 and len(warnings) >= len(on_epoll), said
    assert all("RLIMIT_MEMLOCK" in line for line in warnings)
