"""Some failing allocations of each operation, and those that once broke a promise.

All of them: python -m tests.nomem
"""

import subprocess
import sys

import pytest

from tests.parity.loops import skip_where_io_uring_is_refused

from .operations import OPERATIONS

_testcapi = pytest.importorskip(
    "_testcapi", reason="this CPython was built without its test module")

FEW = ("0", "9", "40")
# (operation, allocation): an accepted descriptor that nobody owned; a loop that was
# marked as running for ever.
ONCE_BROKEN = (("accept", "2"), ("move", "2"), ("move", "4"))


def walk(operation, driver, *numbers):
    if driver == "io_uring":
        skip_where_io_uring_is_refused()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.nomem.child", operation, driver,
         *numbers], capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_without_memory_ends_or_goes_on_whole(operation, driver):
    walk(operation, driver, *FEW)


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation, number", ONCE_BROKEN)
def test_what_once_broke(operation, number, driver):
    walk(operation, driver, number, "1", number)
