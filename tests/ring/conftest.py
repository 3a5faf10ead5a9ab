"""Fixtures for tests on the kernel: compiled operations, tiny rings, children."""

import errno
import importlib.util
import os
import pathlib
import pickle
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import traceback
import types

import pytest

from uring_loop.driver.buffer_pool import BufferPool
from uring_loop.driver.ring import Ring

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
ENTER_LIMIT_NS = 10_000_000_000


@pytest.fixture(scope="session")
def ops(tmp_path_factory):
    """kernel_ops.pyx, compiled against the installed package and our include/."""
    import uring_loop

    folder = tmp_path_factory.mktemp("kernel_ops")
    source = shutil.copy(HERE / "kernel_ops.pyx", folder)
    packages = os.path.dirname(os.path.dirname(uring_loop.__file__))
    run(sys.executable, "-m", "cython", "-3", "--include-dir", packages, source)
    name = "kernel_ops" + sysconfig.get_config_var("EXT_SUFFIX")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    run(*compiler, "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-I", INCLUDE,
        "-I", sysconfig.get_path("include"), folder / "kernel_ops.c",
        "-o", folder / name)
    spec = importlib.util.spec_from_file_location("kernel_ops", folder / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command):
    """Run a tool; its output is the failure."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def io_uring():
    """Skips where the kernel or the container refuses io_uring."""
    try:
        Ring(sq_entries=8).close()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES):
            raise
        pytest.skip(f"io_uring is refused here: {error}")


@pytest.fixture
def make_ring(io_uring, no_leaks):
    """Ring(**options), tiny unless told otherwise; nothing may be left at the end."""
    rings = []

    def make(**options):
        rings.append(Ring(**{"sq_entries": 8, "cq_entries": 32, **options}))
        return rings[-1]

    yield make
    left = [op for ring in rings for op in ring.close()]
    rings.clear()
    assert left == [], "operations that never ended"


@pytest.fixture
def modes(ops):
    """Options that give a ring with DEFER_TASKRUN, COOP_TASKRUN, or neither."""
    old = ops.CQSIZE | ops.CLAMP | ops.R_DISABLED
    return {
        "defer": {"taskrun": "defer"},
        "coop": {"taskrun": "coop"},
        # As before Linux 5.18: no flag of the ladder at all.
        "plain": {"known_flags": old},
        "epoll": {"driver": "epoll"},
    }


@pytest.fixture(params=["defer", "coop", "plain", "epoll"])
def mode(request):
    return request.param


@pytest.fixture
def ring(make_ring, modes, mode):
    """One small ring: on io_uring in each way that completions are posted, and on epoll."""
    return make_ring(**modes[mode])


@pytest.fixture
def make_pool():
    """A pool of few and small buffers for a ring."""

    def make(ring, count=2, buffer_bytes=16, most=2, group=0):
        return BufferPool(ring, count, buffer_bytes, most, group)

    return make


@pytest.fixture
def pair():
    """Two connected Unix stream sockets."""
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def tcp_pair():
    """Two connected TCP sockets on the loopback: (ours, the peer's)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    yield ours, peer
    ours.close()
    peer.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield types.SimpleNamespace(read=ends[0], write=ends[1])
    for fd in ends:
        os.close(fd)


@pytest.fixture
def until():
    """until(ring, condition): enter and reap until the condition holds."""

    def turn(ring, condition):
        while not condition():
            ring.enter(True, ENTER_LIMIT_NS)
            ring.reap(1000)

    return turn


@pytest.fixture
def in_child():
    """in_child(function): its result in a forked process; raises what it raises."""
    return run_in_child


def run_in_child(function):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        report(function, writer)
    os.close(writer)
    with open(reader, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"the child ended with {code} (negative: a signal)"
    good, value = pickle.loads(data)
    assert good, value
    return value


def report(function, writer):
    """In the child: send the outcome and leave without running anybody's clean-up."""
    try:
        outcome = True, function()
    except BaseException:
        outcome = False, traceback.format_exc()
    with open(writer, "wb") as answer:
        pickle.dump(outcome, answer)
    os._exit(0)
