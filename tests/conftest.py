"""Rules for every test: installed package, deadline, strict warnings, no leaks."""

import contextlib
import faulthandler
import gc
import os
import pathlib
import signal
import sys
import sysconfig
import threading

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from tests.slowness import DEADLINE_SECONDS, SLOWNESS

ROOT = pathlib.Path(__file__).resolve().parent.parent
REMINDER_SECONDS = 30 * SLOWNESS

# Warnings that fail a test: what leaks, what is lost, and whatever we say ourselves.
ERRORS = (
    "::ResourceWarning",
    "::RuntimeWarning",
    "::pytest.PytestUnraisableExceptionWarning",
    "::pytest.PytestUnhandledThreadExceptionWarning",
    ":::uring_loop",
)


def import_installed_package():
    """Import uring_loop from where it is installed, not from the sources beside us.

    `python -m pytest` puts the checkout first on sys.path, where uring_loop/ has no
    compiled modules unless it was built in place. Once imported, it stays the one.
    """
    shadowing = [p for p in sys.path if pathlib.Path(p or os.curdir).resolve() == ROOT]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built_in_place = any(ROOT.glob(f"uring_loop/*{suffix}"))
    before = list(sys.path)
    if not built_in_place:
        sys.path[:] = [p for p in sys.path if p not in shadowing]
    try:
        import uring_loop
    except ModuleNotFoundError as error:
        if error.name != "uring_loop":
            raise
        return "not installed for this Python: run 'pip install .'"
    finally:
        sys.path[:] = before
    # Python processes that tests start from the checkout must not find sources either.
    os.environ["PYTHONSAFEPATH"] = "1"
    return os.path.dirname(uring_loop.__file__)


PACKAGE = import_installed_package()


def pytest_report_header(config):
    return f"uring_loop: {PACKAGE}"


def pytest_configure(config):
    # What a shell starts in the background ignores Ctrl-C; the tests of it do not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for warning in ERRORS:
        config.addinivalue_line("filterwarnings", f"error{warning}")
    config.addinivalue_line(
        "markers", "needs_speed(reason): skipped where URING_TESTS_SLOWNESS is set")


def pytest_collection_modifyitems(config, items):
    """A test that hangs is a failure: pytest-timeout shows where. One that is too slow
    here is skipped, and says why."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DEADLINE_SECONDS))
        mark = item.get_closest_marker("needs_speed")
        if mark is not None and SLOWNESS > 1:
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item, settings):
    """The deadline speaks by an exception, once; a hang may outlive it.

    A loop may swallow it, and cleaning up may hang as well: it is said again. If C code
    never lets it be said, the process ends, and says where it hung.
    """
    set_by_plugin = yield
    if settings.method == "signal":
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, REMINDER_SECONDS)
    stderr = item.config.stash[fault_handler_stderr_fd_key]  # not captured
    faulthandler.dump_traceback_later(
        settings.timeout + 2 * REMINDER_SECONDS, exit=True, file=stderr)
    return set_by_plugin


@pytest.hookimpl(wrapper=True)
def pytest_timeout_cancel_timer():
    faulthandler.cancel_dump_traceback_later()
    return (yield)


def pytest_unconfigure():
    """The end of the process waits for threads; a test may have left one."""
    faulthandler.dump_traceback_later(REMINDER_SECONDS, exit=True)


class Leaks:
    """What this process holds now, to be compared with later."""

    def __init__(self):
        gc.collect()
        self.files = open_files()
        self.threads = set(threading.enumerate())

    def since(self):
        """Return a line for each file and thread that is new and still here."""
        for thread in set(threading.enumerate()) - self.threads:
            # A thread that has been told to end may need a moment to do so.
            thread.join(timeout=5)
        now = Leaks()
        lines = [
            f"fd {fd}: {target}"
            for fd, target in sorted(now.files.items())
            if self.files.get(fd) != target
        ]
        return lines + [f"{thread!r}" for thread in now.threads - self.threads]


def open_files():
    """{fd: what it refers to}; the fd that reads the directory is not in it."""
    targets = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            targets[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return targets


@pytest.fixture
def no_leaks():
    """Fail the test if it leaves a file descriptor or a thread behind."""
    before = Leaks()
    yield before
    left = before.since()
    assert not left, "left behind:\n" + "\n".join(left)
