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

from .lacking import KINDS, preloaded  # noqa: E402
from .operations import OPERATIONS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Last on the path: the installed package comes before the sources beside the tests.
CHILD = f"""import sys
sys.path.append({str(ROOT)!r})
from tests.nomem.child import main
sys.exit(main(*sys.argv[1:]))"""
FEW = {"python": ("0", "9", "40"), "c": ("0", "3", "6")}
# (operation, allocation, kind): an accepted descriptor that nobody owned; a loop that
# was marked as running for ever; variables of the thread that the C library could not
# allocate, so that it ended the process.
ONCE_BROKEN = (("accept", "14", "python"), ("move", "2", "python"),
               ("move", "4", "python"), ("move", "0", "c"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """environment(kind): what a process needs to lack that memory."""
    library = preloaded(tmp_path_factory.mktemp("nomem"))
    return lambda kind: os.environ | ({"LD_PRELOAD": library} if kind == "c" else {})


@pytest.fixture
def walk(environment):
    def walk(kind, operation, driver, *numbers):
        if driver == "io_uring":
            skip_where_io_uring_is_refused()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CHILD, kind, operation, driver,
             *numbers],
            capture_output=True, text=True, errors="replace", env=environment(kind))
        assert done.returncode == 0, done.stdout + done.stderr

    return walk


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_without_memory_ends_or_goes_on_whole(
        kind, operation, driver, walk):
    walk(kind, operation, driver, *FEW[kind])


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("operation, number, kind", ONCE_BROKEN)
def test_what_once_broke(operation, number, kind, driver, walk):
    walk(kind, operation, driver, number, "1", number)


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
