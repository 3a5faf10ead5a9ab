"""Exceptions that end an IOThread: who hears of them, and what becomes of the rest."""

import asyncio
import threading

import pytest

import uring_loop
from uring_loop import IOThread

from tests.slowness import PATIENCE_SECONDS

SECONDS = PATIENCE_SECONDS


@pytest.fixture
def reported(caplog):
    """The exceptions that loops reported; taken, so that nothing else sees them."""
    yield lambda: [r.exc_info[1] for r in caplog.records if r.exc_info]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("source", ["callback", "submit", "task"])
def test_what_ends_the_thread_reaches_join_and_the_handler(
        options, reported, kind, source):
    error = kind("the end")

    def fail():
        raise error

    async def fail_in_task():
        raise error

    thread = IOThread(**options)
    waiting = thread.run(asyncio.sleep(SECONDS))
    future = None
    if source == "callback":
        thread.loop.call_soon_threadsafe(fail)
    elif source == "submit":
        future = thread.submit(fail)
    else:
        future = thread.run(fail_in_task())
    with pytest.raises(kind) as caught:
        thread.join(SECONDS)
    assert caught.value is error
    assert reported() == [error]
    # Others are told as on any stop, and whoever asked for it gets the exception.
    assert waiting.cancelled()
    assert future is None or future.exception() is error
    assert repr(error) in repr(thread)
    with pytest.raises(kind):
        thread.join()


def test_with_raises_what_ended_the_thread(options, reported):
    with pytest.raises(SystemExit), IOThread(**options) as thread:
        thread.submit(exit, 3)
        assert thread._ended.wait(SECONDS)

    async def main():
        async with IOThread(**options) as thread:
            thread.submit(exit, 4)

    with pytest.raises(SystemExit) as caught:
        uring_loop.run(main(), **options)
    assert caught.value.code == 4


def test_nobody_waits_for_ever_when_finishing_fails(options, reported):
    """A task that answers its cancellation with SystemExit, and one that takes its
    time, which it does not get."""
    begun = threading.Barrier(3)

    async def stubborn():
        try:
            await began()
        except asyncio.CancelledError:
            raise SystemExit("not like this") from None

    async def slow():
        try:
            await began()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def began():
        asyncio.get_running_loop().run_in_executor(None, begun.wait, SECONDS)
        await asyncio.Event().wait()

    thread = IOThread(**options)
    futures = [thread.run(stubborn()), thread.run(slow())]
    begun.wait(SECONDS)
    thread.stop()
    with pytest.raises(SystemExit, match="not like this"):
        thread.join(SECONDS)
    for future in futures:
        assert isinstance(future.exception(SECONDS), (SystemExit, RuntimeError))


def ended_by(error, thread, *queued):
    """End the thread by this while `queued` coroutines wait behind; their Futures."""
    gate = threading.Event()

    def fail():
        gate.wait(SECONDS)
        raise error

    thread.submit(fail)
    futures = [thread.run(coro) for coro in queued]
    gate.set()
    with pytest.raises(SystemExit) as caught:
        thread.join(SECONDS)
    assert caught.value is error
    return futures


def test_what_is_queued_behind_the_end_is_cancelled(options, reported):
    """It had been accepted, so it begins, in order to hear that it is over."""
    async def wait():
        await asyncio.Event().wait()

    thread = IOThread(**options)
    futures = ended_by(SystemExit("first"), thread, wait(), wait())
    assert [future.cancelled() for future in futures] == [True, True]
    assert len(reported()) == 1


def test_the_first_exception_is_the_one_that_is_raised(options, reported):
    async def fail_too():
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise SystemExit("second") from None

    begun = threading.Event()
    thread = IOThread(**options)
    thread.run(fail_too())
    assert begun.wait(SECONDS)
    ended_by(SystemExit("first"), thread)
