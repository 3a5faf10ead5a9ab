"""What any thread may call at any time: every pair of it at the same time, while the
loop works, moves to other threads, and closes.

With a GIL these races are between bytecodes; without one they are between
instructions.
"""

import asyncio
import gc
import socket
import subprocess
import sys
import sysconfig
import threading

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

ROUNDS = 60
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def schedule(thread):
    thread.loop.call_soon_threadsafe(int)


def schedule_and_cancel(thread):
    handle = thread.loop.call_soon_threadsafe(int)
    if uring_loop._compat.ThreadSafeHandle is not None:
        handle.cancel()
    repr(handle)


def run_coroutine(thread):
    thread.run(asyncio.sleep(0))


def run_and_cancel(thread):
    thread.run(asyncio.sleep(10)).cancel()


def submit(thread):
    thread.submit(int).result()


def poll_briefly(thread):
    thread.loop.set_poll(max_ns=2_000, grow=3, shrink=5)


def poll_no_more(thread):
    thread.loop.set_poll()


def statistics(thread):
    assert thread.loop.statistics().iterations


def look_at_loop(thread):
    loop = thread.loop
    assert loop.is_running() and not loop.is_closed()
    repr(loop), loop.backend, loop.ring_flags, loop.ring_refused, loop.time()
    repr(loop.ring)


def look_at_thread(thread):
    assert thread.state == "running" and thread.load >= 0
    repr(thread)


CALLS = (schedule, schedule_and_cancel, run_coroutine, run_and_cancel, submit,
         poll_briefly, poll_no_more, statistics, look_at_loop, look_at_thread)


def at_the_same_time(*functions):
    """Run each in a thread of its own, all from one moment on; raises what they
    raised."""
    errors = []
    start = threading.Barrier(len(functions))

    def main(function):
        start.wait()
        try:
            function()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=main, args=(one,)) for one in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def repeated(call, *args):
    def function():
        for _ in range(ROUNDS):
            call(*args)
    return function


@pytest.fixture
def thread(options):
    with uring_loop.IOThread(**options) as thread:
        yield thread


@pytest.mark.parametrize("first", CALLS, ids=lambda call: call.__name__)
def test_pairs_of_calls_from_two_threads(thread, first):
    for second in CALLS:
        at_the_same_time(repeated(first, thread), repeated(second, thread))
    assert thread.submit(sum, [1, 2]).result() == 3


def test_no_wake_up_is_lost_among_spins_and_sleeps(thread):
    """Each call waits for its answer, so the loop is about to sleep when the next
    comes."""
    def call():
        for _ in range(300):
            assert thread.submit(sum, [1, 2]).result(timeout=PATIENCE_SECONDS) == 3

    thread.loop.set_poll(max_ns=20_000)
    at_the_same_time(call, call, repeated(poll_briefly, thread))


# What a thread may also do with a loop that is about to end, or has ended.
LAST_CALLS = {
    "schedule": lambda loop: schedule_within_limits(loop),
    "stop": lambda loop: loop.stop(),
    "poll": lambda loop: loop.set_poll(max_ns=2_000),
    "statistics": lambda loop: loop.statistics(),
    "look": lambda loop: (repr(loop), loop.backend, loop.ring_flags, repr(loop.ring),
                          loop.is_running(), loop.is_closed(), loop.time()),
}


def schedule_within_limits(loop):
    """Two threads queue faster than one runs: without limit, the loop of a busy machine
    would have tens of thousands of callbacks to run before it ends or moves."""
    if len(loop._ready) < 100:
        loop.call_soon_threadsafe(int)


def until_refused(call, loop, going_on):
    def function():
        while going_on:
            try:
                call(loop)
            except RuntimeError:
                return
    return function


@pytest.mark.parametrize("call", LAST_CALLS.values(), ids=LAST_CALLS)
def test_stop_comes_while_others_call(options, call):
    for stop in (uring_loop.IOThread.stop, lambda thread: thread.loop.stop()):
        for _ in range(5):
            thread, going_on = uring_loop.IOThread(**options), [True]

            def end():
                stop(thread)
                thread.join()
                going_on.clear()

            other = until_refused(call, thread.loop, going_on)
            at_the_same_time(other, other, end)
            assert thread.state == "stopped"


def test_work_is_done_or_refused_when_stop_comes(options):
    def call(thread):
        while True:
            try:
                thread.submit(int)
                thread.run(asyncio.sleep(0))
            except RuntimeError:
                return

    for _ in range(10):
        thread = uring_loop.IOThread(**options)
        at_the_same_time(lambda: call(thread), lambda: call(thread), thread.stop)
        thread.join()
        assert thread.state == "stopped"


@pytest.mark.parametrize("call", LAST_CALLS.values(), ids=LAST_CALLS)
def test_close_comes_while_others_call(options, call):
    """A call finds the loop open or closed; nothing is written to a descriptor that
    has been closed."""
    def run_and_close(loop, going_on):
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.close()
        going_on.clear()

    for _ in range(10):
        loop, going_on = uring_loop.new_event_loop(**options), [True]
        other = until_refused(call, loop, going_on)
        at_the_same_time(other, other, lambda: run_and_close(loop, going_on))


def test_others_look_while_the_loop_moves_from_thread_to_thread(options):
    loop = uring_loop.new_event_loop(**options)
    moving = [True]

    def move():
        for _ in range(ROUNDS):
            mover = threading.Thread(
                target=loop.run_until_complete, args=(asyncio.sleep(0),))
            mover.start()
            mover.join()
        moving.clear()

    def look():
        while moving:
            loop.statistics()
            repr(loop), loop.ring_flags, loop.backend, loop._thread_id
            schedule_within_limits(loop)

    at_the_same_time(move, look, look)
    loop.close()


def test_threads_make_loops_at_the_same_time(options):
    """No two get one token: each loop's ring is its own thread's."""
    owners = []

    def make():
        async def owner():
            return asyncio.get_running_loop().ring.owner

        with asyncio.Runner(
                loop_factory=lambda: uring_loop.new_event_loop(**options)) as runner:
            owners.append(runner.run(owner()))

    for _ in range(10):
        at_the_same_time(*[make] * 4)
    assert len(set(owners)) == len(owners) == 40


def test_queues_of_a_loop_that_runs_are_not_replaced_by_another_thread(thread):
    with pytest.raises(RuntimeError, match="Non-thread-safe"):
        thread.loop._ready = thread.loop._ready
    with pytest.raises(RuntimeError, match="Non-thread-safe"):
        thread.loop._scheduled = []


def test_timer_of_a_loop_that_runs_in_another_thread(thread):
    """Without a GIL the heap would be changed in the middle of a change."""
    if FREE_THREADED:
        with pytest.raises(RuntimeError, match="Non-thread-safe"):
            thread.loop.call_later(10, int)
    else:
        thread.loop.call_later(10, int).cancel()


def test_timer_that_another_thread_cancels_does_not_run(thread):
    """While the loop's own thread changes the heap. No timer runs before that ends."""
    ran, handles = [], []
    made, cancelled = threading.Event(), threading.Event()

    def busy():
        handles.extend(thread.loop.call_later(0, ran.append, number)
                       for number in range(100))
        made.set()
        while not cancelled.is_set():
            thread.loop.call_later(10, int).cancel()

    busy_until_cancelled = thread.submit(busy)
    made.wait()
    try:
        at_the_same_time(*[handle.cancel for handle in handles[::25]])
    finally:
        cancelled.set()
    busy_until_cancelled.result()
    thread.run(asyncio.sleep(0)).result()
    assert sorted(ran) == [number for number in range(100) if number % 25]


def test_others_look_at_the_handle_that_runs(thread):
    """It is replaced before and after each callback, and may end with it."""
    def look():
        for _ in range(50_000):
            handle = thread.loop._current_handle
            if handle is not None:
                handle.cancelled()

    async def busy():
        while looking:
            thread.loop.call_soon(int)
            thread.loop.call_soon(int).cancel()
            await asyncio.sleep(0)

    looking = [True]
    thread.submit(thread.loop.set_debug, True).result()
    work = thread.run(busy())
    at_the_same_time(look, look)
    looking.clear()
    work.result()


def test_import_leaves_the_gil_off():
    """In a process of its own, with all modules: each of them says that it may."""
    code = """
import sys, warnings
warnings.simplefilter("error")
import uring_loop
from uring_loop import lazy
for module in list(sys.modules.values()):
    if module.__name__.startswith("uring_loop"):
        dir(module)
uring_loop.new_event_loop().close()
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(not FREE_THREADED)


def test_a_loop_that_is_busy_with_callbacks_in_c_lets_other_threads_run(thread):
    """No interpreter interrupts such callbacks: for another thread that wants the GIL,
    or for one that collects garbage without a GIL."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        thread.submit(thread.loop.add_reader, ours, int).result()
        for _ in range(20):
            assert thread.submit(sum, [1, 2]).result() == 3
            gc.collect()
        thread.submit(thread.loop.remove_reader, ours).result()
