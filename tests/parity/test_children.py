"""Waiting for processes by pidfd: who may interfere, and what is not needed for it."""

import asyncio
import os
import signal
import subprocess
import threading

import pytest

from ..stress import children
from . import loops
from .framework import open_fds, parity, promise

LOOPS = pytest.mark.parametrize("loop_name", loops.under_test())
SHORT = ("true",)
LONG = ("sleep", "1000")


def has_children():
    """Is there any process of ours, running or a zombie?"""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@promise
async def test_neither_a_thread_nor_a_signal_handler_is_needed(loop, trace):
    before = threading.enumerate()
    process = await asyncio.create_subprocess_exec(*LONG)
    assert threading.enumerate() == before
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert not has_children()


@promise
def test_children_of_a_loop_in_a_worker_thread(loop, trace):
    def work():
        codes.append(loop.run_until_complete(main()))

    async def main():
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
        return await process.wait()

    codes = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [7]


@parity
async def test_whether_a_child_that_is_reaped_is_known_to_have_ended(loop, trace):
    """Newer releases of 3.14 send no signal to a number that is free again."""
    def heard(wait):
        def wait_and_look(*args):
            result = wait(*args)
            loop.call_soon_threadsafe(lambda: seen.append(process.returncode))
            return result
        return wait_and_look

    seen = []
    with pytest.MonkeyPatch.context() as patch:
        # asyncio's way and ours.
        patch.setattr(os, "waitpid", heard(os.waitpid))
        patch.setattr(os, "waitid", heard(os.waitid))
        process = await asyncio.create_subprocess_exec(*LONG)
        process.kill()
        await process.wait()
    trace("seen first", seen[0])


@promise
async def test_a_wait_that_fails_keeps_no_descriptor(loop, trace):
    failed = asyncio.Event()

    def refuse(*args):
        raise OSError("refused")

    loop.set_exception_handler(lambda loop, context: failed.set())
    before = open_fds()
    process = await asyncio.create_subprocess_exec(*LONG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "waitid", refuse)
        process.kill()
        await failed.wait()
    assert open_fds() == before
    os.waitpid(process.pid, 0)
    process._transport._process_exited(-signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


@promise
async def test_an_exit_status_that_somebody_else_has_read(loop, trace):
    process = await asyncio.create_subprocess_exec(*LONG)
    process.kill()
    os.waitpid(process.pid, 0)
    assert await process.wait() == 255
    assert "exit status already read" in str(trace.lane("log").events())


@promise
async def test_ignored_children_leave_no_exit_status(loop, trace):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = await asyncio.create_subprocess_exec(*SHORT)
        assert await process.wait() == 255
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "exit status already read" in str(trace.lane("log").events())


@parity
async def test_a_start_that_is_cancelled_leaves_no_process(loop, trace):
    for iterations in range(6):
        task = loop.create_task(asyncio.create_subprocess_exec(
            *LONG, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for _ in range(iterations):
            await asyncio.sleep(0)
        if task.cancel():
            await trace.lane("started").wait("start", asyncio.wait({task}))
        if not task.cancelled():
            process = task.result()
            process.stdin.close()
            process.kill()
            await process.communicate()
    trace("children", has_children())


@promise
def test_a_loop_closed_while_a_process_runs_keeps_no_descriptor(loop, trace):
    before = open_fds()
    transport, _ = loop.run_until_complete(loop.subprocess_exec(
        asyncio.SubprocessProtocol, *LONG, stdin=None, stdout=None, stderr=None))
    assert "anon_inode:[pidfd]" in str(open_fds() - before)
    transport.close()
    loop.close()
    assert "pidfd" not in str(open_fds())
    assert transport.get_extra_info("subprocess").wait() == -signal.SIGKILL


@LOOPS
def test_where_pidfds_are_forbidden(loop_name):
    words = children.run("""
def refuse(*args):
    raise PermissionError(1, "forbidden")

os.pidfd_open = refuse
async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
    print(await process.wait())
loop = new_loop()
loop.run_until_complete(main())
loop.close()
""", loop_name)
    assert words == ["7"]


@pytest.mark.skipif(not hasattr(asyncio, "AbstractChildWatcher"),
                    reason="this Python has no child watchers any more")
@LOOPS
def test_a_child_watcher_that_was_set_is_used(loop_name):
    words = children.run("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)

class Watcher(asyncio.ThreadedChildWatcher):
    def add_child_handler(self, *args):
        print("asked")
        super().add_child_handler(*args)

async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
    print(await process.wait())
asyncio.set_child_watcher(Watcher())
loop = new_loop()
loop.run_until_complete(main())
loop.close()
""", loop_name)
    assert words == ["asked", "7"]
