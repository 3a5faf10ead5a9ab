"""The seccomp profiles in examples/seccomp, each installed as a filter and used."""

import contextlib
import json
import os
import pathlib
import platform
import re
import runpy

import pytest

from ..parity import loops
from ..stress import children
from . import everything, kit, seccomp_profile, servers

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "seccomp"
PROFILE = json.loads((FOLDER / "uring_loop.json").read_text())
IO_URING = ["io_uring_setup", "io_uring_enter", "io_uring_register"]

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="numbers of system calls are x86-64's")


def without_io_uring(profile):
    return {**profile, "syscalls": [
        rule for rule in profile["syscalls"] if rule["names"] != IO_URING]}


# A runtime's default in small: all calls of the profile but the three.
DEFAULT = without_io_uring(PROFILE)
ADDED = runpy.run_path(FOLDER / "allow_io_uring.py")["allow_io_uring"](DEFAULT)

EVERYTHING = """
os.chdir({folder!r})
loop = new_loop()
tell(loop.run_until_complete(attempt_all(loop)))
print("backend=" + loop.backend)
loop.close()
"""


def test_one_rule_is_the_whole_difference():
    assert ADDED == PROFILE
    assert len(PROFILE["syscalls"]) == len(DEFAULT["syscalls"]) + 1
    allowed = {name for rule in DEFAULT["syscalls"] for name in rule["names"]}
    assert allowed.isdisjoint(IO_URING)


@pytest.mark.parametrize("profile, backend", [
    (PROFILE, "io_uring"), (ADDED, "io_uring"), (DEFAULT, "epoll")],
    ids=["profile", "default with three calls", "default"])
def test_everything_works_under_the_profile(profile, backend, tmp_path):
    loops.skip_where_io_uring_is_refused()
    words = children.run(
        everything.source("auto", tmp_path) + seccomp_profile.installing(profile)
        + EVERYTHING.format(folder=str(tmp_path)), URING_LOOP_RESTRICT="1")
    results = everything.results(words)
    assert results.pop("backend") == backend
    assert set(results.values()) == {"ok"}, results


def test_a_server_works_under_the_profile(tmp_path):
    loops.skip_where_io_uring_is_refused()
    with servers.running(servers.uvicorn(
            tmp_path, "ours", prelude=seccomp_profile.installing(PROFILE),
            environment=os.environ | {"URING_LOOP_BACKEND": "auto"})) as started:
        with contextlib.closing(servers.client(started.port)) as connection:
            assert json.loads(servers.ask(connection))["backend"] == "io_uring"
            assert servers.ask(connection, "POST", "/echo", b"bytes") == b"bytes"


# Calls with arguments that no kernel carries out; a filter answers before it looks.
REFUSED = """
known = {known!r}
def ask(name, *arguments):
    ctypes.set_errno(0)
    libc.syscall(known[name], *arguments)
    return ctypes.get_errno()
libc = ctypes.CDLL(None, use_errno=True)
for name in {names!r}:
    print(name + "=" + str(ask(name, -1, -1, -1, -1, -1, -1)))
print("clone3=" + str(ask("clone3", 0, 0)))
print("new_user_namespace=" + str(ask("clone", 0x10000000 | 0x200, 0, 0, 0, 0)))
print("af_alg=" + str(ask("socket", 38, 5, 0)))
print("af_vsock=" + str(ask("socket", 40, 1, 0)))
print("af_unix=" + str(ask("socket", 1, 1, 0)))
print("io_uring_enter=" + str(ask("io_uring_enter", -1, 0, 0, 0, 0, 0)))
print("personality=" + str(ask("personality", 0x0040000)))
"""
MANAGING = [
    "acct", "add_key", "bpf", "chroot", "clock_settime", "delete_module",
    "finit_module", "fsopen", "init_module", "ioperm", "iopl", "kexec_load", "keyctl",
    "mbind", "mount",
    "open_by_handle_at", "perf_event_open", "pidfd_getfd", "pivot_root",
    "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "reboot",
    "sethostname", "setns", "settimeofday", "swapon", "syslog", "umount2", "unshare",
    "userfaultfd"]


def test_the_profile_refuses_what_manages_the_machine():
    words = children.run(
        seccomp_profile.installing(PROFILE)
        + REFUSED.format(known=seccomp_profile.numbers(), names=MANAGING))
    said = {name: int(number) for name, number in everything.results(words).items()}
    assert {name: said[name] for name in MANAGING} == dict.fromkeys(MANAGING, 1)
    assert said["clone3"] == 38
    assert [said[name] for name in (
        "new_user_namespace", "af_alg", "af_vsock", "personality")] == [1] * 4
    # EBADF: the call was made.
    assert (said["af_unix"], said["io_uring_enter"]) == (0, 9)


def test_the_pod_names_the_profile():
    text = (FOLDER / "pod.yaml").read_text()
    assert re.search(r"seccompProfile:\n +type: Localhost\n"
                     r" +localhostProfile: profiles/uring_loop.json\n", text)
    assert (FOLDER / "uring_loop.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_the_pods_user_has_a_ring(tmp_path):
    """An ordinary user without any capability and without new privileges."""
    loops.skip_where_io_uring_is_refused()
    text = (FOLDER / "pod.yaml").read_text()
    user = int(re.search(r"runAsUser: (\d+)", text)[1])
    words = children.run(
        # Imported before: the user may not be able to read this Python's files.
        "import ctypes, struct; new_loop().close()\n"
        f"os.setgroups([]); os.setresgid({user}, {user}, {user})\n"
        f"os.setresuid({user}, {user}, {user})\n"
        + seccomp_profile.installing(PROFILE)
        + "loop = new_loop(); loop.run_until_complete(asyncio.sleep(0))\n"
        + "print(loop.backend, loop.ring_restricted); loop.close()",
        URING_LOOP_RESTRICT="1")
    assert words == ["io_uring", "True"]


# ---- a filter that comes after the start --------------------------------------------

LATE = """
import ctypes       # before descriptors are counted: libffi may keep one
import logging
logging.basicConfig(format="%(message)s")
loop = new_loop()
near, far = socket.socketpair()
near.setblocking(False)

class Ends(asyncio.Protocol):
    def connection_lost(self, exc):
        print("lost")

async def main():
    transport, _ = await loop.create_connection(Ends, sock=near)
    await asyncio.sleep(0)
    if {later!r}:
        transport.close()

loop.run_until_complete(main())
before = len(os.listdir("/proc/self/fd"))
{install}
try:
    loop.run_until_complete(asyncio.sleep(0.01))
    print("ran")
except PermissionError:
    print("refused")
loop.close()
print("closed", loop.is_closed(), len(loop.ring.in_flight()))
loop.close()
print("descriptors", before - len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.parametrize("later", [False, True], ids=["armed", "closing"])
@kit.our_names
def test_a_loop_whose_ring_is_refused_after_the_start_closes(loop_name, later):
    words, err, status = children.finish(children.start(
        LATE.format(install=seccomp_profile.installing(DEFAULT), later=later),
        loop_name))
    assert status == 0, err
    refused = loop_name == "io_uring"
    assert ("refused" in words) == refused
    assert words[words.index("closed"):][1:3] == ["True", "0"]
    # The ring or the set, the watches' set, the socket pair, the wake-up.
    assert int(words[-1]) >= 4
    assert ("The kernel refused the ring while the loop was closed" in err) == refused
    assert ("EPERM: a seccomp filter" in err) == refused
