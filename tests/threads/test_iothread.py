"""What an IOThread does between its start and its end."""

import asyncio
import concurrent.futures
import contextvars
import os
import threading

import pytest

import uring_loop
from uring_loop import IOThread

from tests.slowness import PATIENCE_SECONDS

SECONDS = PATIENCE_SECONDS
VAR = contextvars.ContextVar("VAR", default="unset")


@pytest.fixture
def thread(options):
    with IOThread(**options) as thread:
        yield thread


async def where():
    return threading.get_native_id(), asyncio.get_running_loop()


def test_the_loop_lives_in_its_own_thread(thread, options):
    assert thread.run(where()).result(SECONDS) == (thread.native_id, thread.loop)
    assert thread.submit(threading.get_native_id).result(SECONDS) == thread.native_id
    assert thread.native_id != threading.get_native_id()
    assert isinstance(thread.loop, uring_loop.Loop)
    assert thread.loop.backend == options["backend"]


def test_its_ring_has_the_flags_of_its_options_and_obeys_it(ring_options):
    with IOThread(**ring_options) as thread:
        ring = thread.loop.ring
        assert ring.enabled
        owner = ring.owner
        # The thread that has it has the number, too.
        assert thread.submit(lambda: own_ring_number()).result(SECONDS) == owner
        assert own_ring_number() != owner
        wanted = {"defer": "DEFER_TASKRUN", "coop": "COOP_TASKRUN"}
        assert wanted[ring_options["taskrun"]] in thread.loop.ring_flags


def own_ring_number():
    """The owner of a ring that this thread makes."""
    from uring_loop.driver.ring import Ring

    ring = Ring(sq_entries=8)
    try:
        return ring.owner
    finally:
        ring.close()


def test_every_option_of_the_loop_is_passed_on(ring_options):
    with IOThread(**ring_options, sq_entries=8) as thread:
        assert thread.loop.ring.sq_entries == 8


def test_the_name_and_what_repr_tells(options):
    thread = IOThread("disk", **options)
    assert thread.name == "disk"
    assert repr(thread) == (f"<IOThread 'disk' running backend={thread.loop.backend} "
                            f"native_id={thread.native_id}>")
    assert thread.state == "running"
    names = [t.name for t in threading.enumerate()]
    assert "disk" in names
    thread.stop()
    thread.join()
    assert thread.state == "stopped"
    assert "stopped" in repr(thread)
    assert thread.loop.is_closed()


def test_names_are_numbered_by_default(options):
    with IOThread(**options) as one, IOThread(**options) as two:
        numbers = [int(t.name.removeprefix("IOThread-")) for t in (one, two)]
        assert numbers[1] == numbers[0] + 1


@pytest.mark.parametrize("daemon", [False, True])
def test_daemon_is_the_threads(options, daemon):
    with IOThread(daemon=daemon, **options) as thread:
        assert thread.daemon is daemon
        assert thread.submit(lambda: threading.current_thread().daemon).result(
            SECONDS) is daemon


def test_cpu_affinity_holds_for_the_thread_alone(options):
    ours = os.sched_getaffinity(0)
    cpu = min(ours)
    for affinity in (cpu, [cpu], {cpu}):
        with IOThread(cpu_affinity=affinity, **options) as thread:
            assert thread.submit(os.sched_getaffinity, 0).result(SECONDS) == {cpu}
    assert os.sched_getaffinity(0) == ours


# ---- run and submit -------------------------------------------------------------


def test_results_and_exceptions_come_back(thread):
    async def fail():
        raise LookupError("coroutine")

    def fail_plainly():
        raise LookupError("function")

    assert thread.run(asyncio.sleep(0, "slept")).result(SECONDS) == "slept"
    assert thread.submit(divmod, 7, 2).result(SECONDS) == (3, 1)
    with pytest.raises(LookupError, match="coroutine"):
        thread.run(fail()).result(SECONDS)
    with pytest.raises(LookupError, match="function"):
        thread.submit(fail_plainly).result(SECONDS)
    # Neither harms the thread.
    assert thread.run(asyncio.sleep(0, "alive")).result(SECONDS) == "alive"


def test_the_callers_context_goes_along(thread):
    async def read():
        return VAR.get()

    token = VAR.set("ours")
    try:
        assert thread.run(read()).result(SECONDS) == "ours"
        assert thread.submit(VAR.get).result(SECONDS) == "ours"
    finally:
        VAR.reset(token)


def test_cancelling_the_future_cancels_the_task(thread):
    begun, ended = threading.Event(), threading.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = thread.run(wait())
    assert begun.wait(SECONDS)
    assert future.cancel()
    assert ended.wait(SECONDS)


def test_a_submit_that_is_cancelled_in_time_is_not_called(thread):
    gate, called = threading.Event(), []
    blocking = thread.submit(gate.wait, SECONDS)
    cancelled = thread.submit(called.append, 1)
    assert cancelled.cancel()
    gate.set()
    assert blocking.result(SECONDS)
    thread.submit(called.append, 2).result(SECONDS)
    assert called == [2]


def test_what_is_no_coroutine_is_refused(thread):
    with pytest.raises(TypeError, match="coroutine"):
        thread.run(lambda: None)


def test_one_loop_awaits_what_another_runs(options):
    async def main():
        with IOThread(**options) as thread:
            future = asyncio.wrap_future(thread.run(asyncio.sleep(0, "there")))
            return await asyncio.wait_for(future, SECONDS)

    assert uring_loop.run(main(), **options) == "there"


def test_two_threads_call_each_other(options):
    async def there_and_back(other, times):
        for number in range(times):
            future = other.run(asyncio.sleep(0, number))
            assert await asyncio.wrap_future(future) == number
        return times

    with IOThread(**options) as one, IOThread(**options) as two:
        futures = [one.run(there_and_back(two, 200)), two.run(there_and_back(one, 200))]
        assert [f.result(SECONDS) for f in futures] == [200, 200]


def test_many_threads_submit_at_once(thread):
    """Nothing is lost or run twice, and a sleeping loop hears of each."""
    counted = []

    def submit_many(number):
        for turn in range(200):
            thread.submit(counted.append, (number, turn)).result(SECONDS)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(submit_many, range(8)))
    assert sorted(counted) == [(n, t) for n in range(8) for t in range(200)]


def test_load_counts_what_is_not_done(thread):
    def load():
        """As the thread sees it, without this very call."""
        return thread.submit(lambda: thread.load).result(SECONDS) - 1

    assert load() == 0
    gate = asyncio.Event()
    futures = [thread.run(gate.wait()) for _ in range(2)]
    assert load() == 2
    futures[0].cancel()
    assert load() == 1
    thread.submit(gate.set).result(SECONDS)
    assert futures[1].result(SECONDS) is True
    assert load() == 0


# ---- stop and join --------------------------------------------------------------


def test_stop_finishes_as_asyncio_runner_does(options):
    """Tasks hear CancelledError and may await, generators are closed, the executor is
    waited for."""
    events = []

    async def task():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            events.append("task")
            raise

    async def generator():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            events.append("generator")

    async def main():
        kept.append(generator())
        await anext(kept[0])
        asyncio.get_running_loop().run_in_executor(None, in_executor)
        await task()

    def in_executor():
        begun.set()
        gate.wait(SECONDS)
        events.append("executor")

    kept, begun, gate = [], threading.Event(), threading.Event()
    thread = IOThread(**options)
    future = thread.run(main())
    assert begun.wait(SECONDS)
    thread.stop()
    gate.set()
    thread.join()
    assert sorted(events) == ["executor", "generator", "task"]
    assert future.cancelled()


def test_stop_returns_at_once_and_may_be_called_again(options):
    gate = threading.Event()
    thread = IOThread(**options)
    blocking = thread.submit(gate.wait, SECONDS)
    thread.stop()
    thread.stop()
    assert thread.state == "stopping"
    with pytest.raises(TimeoutError):
        thread.join(0)
    gate.set()
    thread.join(SECONDS)
    thread.join()
    thread.stop()
    assert blocking.result() is True


def test_the_thread_may_stop_itself(options):
    thread = IOThread(**options)
    thread.submit(thread.stop)
    thread.join(SECONDS)
    assert thread.state == "stopped"
    thread = IOThread(**options)
    thread.loop.call_soon_threadsafe(thread.loop.stop)
    thread.join(SECONDS)
    assert thread.state == "stopped"


def test_the_thread_cannot_join_itself(thread):
    with pytest.raises(RuntimeError, match="own end"):
        thread.submit(thread.join).result(SECONDS)


def test_what_comes_too_late_is_refused(options):
    with IOThread(**options) as thread:
        pass
    assert thread.load == float("inf")
    with pytest.raises(RuntimeError, match="takes no more work"):
        thread.submit(print)
    # Closed, or a RuntimeWarning would fail this test.
    with pytest.raises(RuntimeError, match="takes no more work"):
        thread.run(asyncio.sleep(0))


def test_nothing_that_was_accepted_hangs(options):
    """Others call while the thread stops: each call is refused, done or cancelled."""
    thread = IOThread(**options)
    futures, accepted = [], threading.Event()

    def call():
        try:
            while True:
                futures.append(thread.run(asyncio.sleep(0)))
                futures.append(thread.submit(int))
                accepted.set()
        except RuntimeError as exc:
            return str(exc)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call) for _ in range(4)]
        assert accepted.wait(SECONDS)
        thread.stop()
        for caller in callers:
            assert "takes no more work" in caller.result(SECONDS)
    thread.join()
    assert len(futures) >= 2
    done, late = concurrent.futures.wait(futures, SECONDS)
    assert not late
    assert {f.cancelled() or f.exception() for f in done} <= {True, None}


def test_async_with_lets_the_other_loop_run(options):
    async def main():
        gate = threading.Event()
        async with IOThread(**options) as thread:
            thread.submit(gate.wait, SECONDS)
            # The end of the block waits for this; the loop outside opens it.
            asyncio.get_running_loop().call_later(0.01, gate.set)
        return thread.state

    assert uring_loop.run(main(), **options) == "stopped"
