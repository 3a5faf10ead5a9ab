"""Fixtures for tests of rings: compiled operations, tiny rings, children.

A test that takes `ring` or `mode` runs on io_uring, in each way that completions are
posted, and on epoll. A promise of one driver's is marked io_uring_only or epoll_only
with the reason; a ring test with neither `mode` nor mark is an error.
"""

import contextlib
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

from tests.slowness import SLOWNESS
from uring_loop.driver.buffer_pool import BufferPool
from uring_loop.driver.ring import Ring

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
ENTER_LIMIT_NS = int(10_000_000_000 * SLOWNESS)
# Marks, each with the modes that it leaves in.
ONLY = {
    "io_uring_only": lambda mode: mode != "epoll",
    "epoll_only": lambda mode: mode == "epoll",
}
# Without the flag a ring of the mode is that of the next.
MODE_FLAGS = {"defer": "DEFER_TASKRUN", "coop": "COOP_TASKRUN|TASKRUN_FLAG"}
# Who takes one of these makes a ring.
RING_FIXTURES = {"io_uring", "make_ring", "ring"}
OPS_FILE = "kernel_ops" + sysconfig.get_config_var("EXT_SUFFIX")


def pytest_configure(config):
    for name in ONLY:
        config.addinivalue_line(
            "markers", f"{name}(reason): the promise is that driver's, not the seam's")


def pytest_collection_modifyitems(config, items):
    """Leave out the modes of the driver that a test is not about."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        check_marks(item)
    left_out = {item for item in ours if is_left_out(item)}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


def check_marks(item):
    """Every test of a ring says on which drivers its promise holds."""
    marks = [mark for name in ONLY for mark in item.iter_markers(name)]
    for mark in marks:
        if len(mark.args) != 1 or not isinstance(mark.args[0], str):
            raise pytest.UsageError(f"{item.nodeid}: @{mark.name} takes a reason")
    uses_ring = not RING_FIXTURES.isdisjoint(item.fixturenames)
    if uses_ring and not marks and "mode" not in item.fixturenames:
        raise pytest.UsageError(
            f"{item.nodeid} runs on one driver only: take the fixture `mode`, or mark "
            f"it with one of {', '.join(ONLY)} and the reason")


def is_left_out(item):
    mode = item.callspec.params.get("mode") if hasattr(item, "callspec") else None
    return (mode is not None
            and any(item.get_closest_marker(name) and not has_mode(mode)
                    for name, has_mode in ONLY.items()))


@pytest.fixture(scope="session")
def ops(tmp_path_factory):
    """kernel_ops.pyx, compiled."""
    folder = compiled_before()
    if folder is None:
        folder = tmp_path_factory.mktemp("kernel_ops")
        compile_ops(folder)
    spec = importlib.util.spec_from_file_location("kernel_ops", folder / OPS_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled_before():
    """The folder that URING_TESTS_COMPILED names, where all C of these tests is: an
    emulated machine would take its time for that. Else None."""
    folder = os.environ.get("URING_TESTS_COMPILED")
    return pathlib.Path(folder) if folder else None


def compile_ops(folder):
    """Compile kernel_ops.pyx against the installed package and our include/."""
    import uring_loop

    source = pathlib.Path(shutil.copy(HERE / "kernel_ops.pyx", folder))
    packages = os.path.dirname(os.path.dirname(uring_loop.__file__))
    run(sys.executable, "-m", "cython", "-3", "-X", "freethreading_compatible=True",
        "--include-dir", packages, source)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    run(*compiler, "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-I", INCLUDE,
        "-I", sysconfig.get_path("include"), source.with_suffix(".c"),
        "-o", source.with_name(OPS_FILE))


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
def make_ring(request, no_leaks):
    """Ring(**options), tiny unless told otherwise; nothing may be left at the end."""
    rings = []

    def make(**options):
        if options.get("driver") != "epoll":
            request.getfixturevalue("io_uring")
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
def options(request, modes, mode):
    """Options for Ring() in this mode; skips a mode that this kernel does not have."""
    if mode != "epoll":
        request.getfixturevalue("io_uring")
    flag = MODE_FLAGS.get(mode)
    if flag in request.getfixturevalue("refused_flags"):
        pytest.skip(f"this kernel has no {flag}: its ring is that of another mode")
    return modes[mode]


@pytest.fixture(scope="session")
def refused_flags():
    """The flags of set-up that this kernel does not have, with the reasons."""
    found = {}
    for taskrun in ("defer", "coop"):
        with contextlib.suppress(OSError):
            ring = Ring(sq_entries=8, taskrun=taskrun)
            found |= ring.refused
            ring.close()
    return found


@pytest.fixture
def ring(make_ring, options):
    """One small ring of each mode."""
    return make_ring(**options)


@pytest.fixture
def has_reason(mode):
    """has_reason(ring): would an enter find work? The certain answer."""

    def ask(ring):
        certain = ring.has_work()
        if mode != "epoll":
            assert ring.need_wait() == certain
        return certain

    return ask


@pytest.fixture
def make_pool():
    """A pool of few and small buffers for a ring; skips where no kernel serves it."""

    def make(ring, count=2, buffer_bytes=16, most=2, group=0):
        try:
            return BufferPool(ring, count, buffer_bytes, most, group)
        except OSError as error:
            if error.errno == errno.EINVAL and ring.driver == "io_uring":
                pytest.skip("this kernel has no provided buffers (Linux 5.19)")
            raise

    return make


@pytest.fixture(scope="session")
def multishot_accept(io_uring, ops):
    """Skips where the kernel has none; the loop does not use it."""
    ring = Ring(sq_entries=8)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        op = ops.accept(listener.fileno())
        ring.prepare(op)
        ring.enter(False)
        ring.reap(10)
        ring.close()
    if op.heard[0] == (-errno.EINVAL, False):
        pytest.skip("this kernel has no multishot accept (Linux 5.19)")


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
    code = 1
    try:
        with open(writer, "wb") as answer:
            answer.write(pickled_outcome(function))
        code = 0
    finally:
        os._exit(code)


def pickled_outcome(function):
    """(True, result) or (False, traceback): also if the result cannot be sent."""
    try:
        return pickle.dumps((True, function()))
    except BaseException:
        return pickle.dumps((False, traceback.format_exc()))
