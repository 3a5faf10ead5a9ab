"""HTTP where a container's seccomp profile refuses io_uring, by real servers.

Docker's and containerd's default profiles answer io_uring calls with EPERM, other
sandboxes with ENOSYS. A profile that kills instead proves that a loop told to use epoll
does not even ask.
"""

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys

import pytest

from .. import kit_seccomp
from . import servers

BIG = random.Random(1).randbytes(3 << 20)

# name -> (what the process forbids itself, URING_LOOP_BACKEND, what the reason says)
PROFILES = {
    "EPERM": (f"forbid_io_uring({errno.EPERM})", "auto", "seccomp"),
    "ENOSYS": (f"forbid_io_uring({errno.ENOSYS})", "auto", "ENOSYS"),
    "killed": ("die_of_io_uring()", "epoll", "asked for"),
}
START = {"uvicorn": servers.uvicorn, "aiohttp": servers.aiohttp}


def forbid(profile):
    return kit_seccomp.source() + PROFILES[profile][0]


def environment(profile):
    return os.environ | {"URING_LOOP_BACKEND": PROFILES[profile][1]}


def test_the_profile_that_kills_does_kill():
    source = forbid("killed") + """
libc = ctypes.CDLL(None)
libc.syscall(425, 1, None)
"""
    ended = subprocess.run([sys.executable, "-c", source])
    assert ended.returncode == -signal.SIGSYS


@pytest.mark.parametrize("server", START)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_http_is_served(tmp_path, profile, server, whose):
    with servers.running(START[server](
            tmp_path, whose, prelude=forbid(profile),
            environment=environment(profile))) as started:
        with contextlib.closing(servers.client(started.port)) as connection:
            about = json.loads(servers.ask(connection))
            first = connection.sock
            assert servers.ask(connection, "POST", "/echo", BIG) == BIG
            for number in range(20):
                body = b"%d" % number
                assert servers.ask(connection, "POST", "/echo", body) == body
            assert connection.sock is first, "the connection was not kept alive"
        for _ in range(20):
            with contextlib.closing(servers.client(started.port)) as connection:
                assert servers.ask(connection, "POST", "/echo", b"new") == b"new"
    if whose == "ours":
        assert about["backend"] == "epoll"
        assert PROFILES[profile][2] in about["reason"]


@pytest.mark.parametrize("profile", PROFILES)
def test_workers_share_connections(tmp_path, profile):
    with servers.running(servers.uvicorn(
            tmp_path, "ours", workers=2, prelude=forbid(profile),
            environment=environment(profile))) as started:
        served = servers.served_by(started.port, 20, lambda data: data)
    assert {json.loads(about)["backend"] for about in served} == {"epoll"}
