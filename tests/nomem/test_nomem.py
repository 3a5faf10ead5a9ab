"""Some failing allocations of each operation, and those that once broke a promise.

All of them: python -m tests.nomem
"""

import asyncio
import os
import pathlib
import subprocess
import sys

import pytest
import uring_loop
from uring_loop.files import opening

from tests.parity.loops import skip_where_io_uring_is_refused

pytest.importorskip(
    "_testcapi", reason="this CPython was built without its test module")

from .operations import OPERATIONS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Last on the path: the installed package comes before the sources beside the tests.
CHILD = f"""import sys
sys.path.append({str(ROOT)!r})
from tests.nomem.child import main
sys.exit(main(*sys.argv[1:]))"""
FEW = ("0", "9", "40")
# (operation, allocation): an accepted descriptor that nobody owned; a loop that was
# marked as running for ever.
ONCE_BROKEN = (("accept", "2"), ("move", "2"), ("move", "4"))


def walk(operation, driver, *numbers):
    if driver == "io_uring":
        skip_where_io_uring_is_refused()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, operation, driver, *numbers],
        capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_without_memory_ends_or_goes_on_whole(operation, driver):
    walk(operation, driver, *FEW)


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation, number", ONCE_BROKEN)
def test_what_once_broke(operation, number, driver):
    walk(operation, driver, number, "1", number)


def test_a_descriptor_for_which_there_is_no_file_object_is_closed(monkeypatch):
    def without_memory(fd, direct):
        raise MemoryError

    async def use():
        await asyncio.to_thread(int)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(MemoryError):
            await uring_loop.open(__file__, "rb")
        assert len(os.listdir("/proc/self/fd")) == before

    monkeypatch.setattr(opening, "raw_file", without_memory)
    uring_loop.run(use())
