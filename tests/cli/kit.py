"""Runs a command of `python -m uring_loop` in a child, in a world that it is given."""

import os
import subprocess
import sys

import pytest

from tests.slowness import PATIENCE_SECONDS

from .. import kit_seccomp

SECONDS = PATIENCE_SECONDS

needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="must be root to become somebody else")

# What each world does to the process before the command starts.
WORLDS = {
    "as it is": "",
    "EPERM": "forbid_io_uring(1)",
    "ENOSYS": "forbid_io_uring(38)",
    "killed": "die_of_io_uring()",
    "one CPU": "os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])",
    "sysctl 2": """
from uring_loop.driver import backend
setting = os.path.join(os.environ["WORLD"], "io_uring_disabled")
with open(setting, "w") as file: file.write("2")
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None)
if libc.unshare(CLONE_NEWNS) == 0:
    # The sysctl's own file, in a mount namespace of this process. The sysctl itself
    # stays: other processes make rings. In a chroot "/" is no mount.
    assert libc.mount(None, b"/proc", None, MS_REC | MS_PRIVATE, None) == 0
    paths = [path.encode() for path in (setting, backend.SYSCTL)]
    assert libc.mount(*paths, None, MS_BIND, None) == 0
else:
    backend.SYSCTL = setting
forbid_io_uring(1)
""",
    "no rich": "sys.modules['rich'] = None",
}


def somebody(locked_bytes):
    """A world: an ordinary user that nobody else is, under RLIMIT_MEMLOCK."""
    return f"""
import resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, ({locked_bytes}, {locked_bytes}))
os.setgroups([])
user = 0x40000000 + os.getpid()
os.setresgid(user, user, user)
os.setresuid(user, user, user)
"""


def run(source, world="", **environment):
    """(exit status, output, errors) of a child that runs the source in the world."""
    program = "\n".join([
        kit_seccomp.source(), "import os, sys",
        # Before the world: an ordinary user may not be allowed to read the packages.
        "" if "rich" in world else
        "from uring_loop.cli import doctor; doctor.facts.versions()",
        world, source])
    given = {name: value for name, value in os.environ.items()
             if not name.startswith("URING_LOOP_")}
    ended = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True,
        env=given | environment, timeout=SECONDS)
    return ended.returncode, ended.stdout, ended.stderr
