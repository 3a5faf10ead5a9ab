"""Debug mode: what it refuses, what it warns of, and what it remembers."""

import asyncio
import contextlib
import threading

from .framework import parity


def run_ready(loop):
    loop.stop()
    loop.run_forever()


def named_callback(*args):
    """A callback whose name shows in a warning."""


async def coroutine_function():
    """Something that must not be scheduled as a callback."""


@parity
def test_debug_is_switched(loop, trace):
    trace("at first", loop.get_debug())
    loop.set_debug(True)
    trace("switched", loop.get_debug())
    loop.set_debug(False)
    trace("back", loop.get_debug())
    loop.set_debug("truthy")
    trace("as given", loop.get_debug())


@parity
def test_another_thread_may_not_use_call_soon(loop, trace):
    def other():
        trace.call("call_soon", loop.call_soon, print)
        trace.call("call_later", loop.call_later, 1, print)
        trace.call("call_at", loop.call_at, 1, print)
        trace.call("create_future", lambda: loop.create_future().done())
        trace.call("threadsafe", lambda: loop.call_soon_threadsafe(print) and None)

    def inside():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    for debug in (True, False):
        loop.set_debug(debug)
        loop.call_soon(inside)
        run_ready(loop)


@parity
def test_any_thread_may_schedule_while_the_loop_stands_still(loop, trace):
    loop.set_debug(True)
    thread = threading.Thread(target=loop.call_soon, args=(trace, "ran"))
    thread.start()
    thread.join()
    run_ready(loop)


@parity
def test_slow_callbacks_are_named(loop, trace):
    loop.set_debug(True)
    with contextlib.closing(type(loop)()) as fresh:
        trace("default", fresh.slow_callback_duration)
    loop.slow_callback_duration = 0
    loop.call_soon(named_callback, 1, "two")
    run_ready(loop)
    loop.slow_callback_duration = 1000


@parity
def test_slow_tasks_are_named(loop, trace):
    async def slow():
        await asyncio.sleep(0)

    loop.set_debug(True)
    task = loop.create_task(slow(), name="the slow task")
    loop.slow_callback_duration = 0
    run_ready(loop)
    loop.slow_callback_duration = 1000
    loop.run_until_complete(task)
    trace("done")


@parity
def test_quick_callbacks_are_not_named(loop, trace):
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    loop.call_soon(named_callback)
    run_ready(loop)
    loop.set_debug(False)
    loop.slow_callback_duration = 0
    loop.call_soon(named_callback)
    run_ready(loop)
    trace("silence")


@parity
def test_coroutines_are_no_callbacks(loop, trace):
    loop.set_debug(True)
    coroutine = coroutine_function()
    for value in (coroutine_function, coroutine):
        trace.call("call_soon", loop.call_soon, value)
        trace.call("threadsafe", loop.call_soon_threadsafe, value)
        trace.call("call_later", loop.call_later, 1, value)
        trace.call("call_at", loop.call_at, 1, value)
        trace.call("executor", loop.run_in_executor, None, value)
        trace.call("signal", loop.add_signal_handler, 10, value)
    coroutine.close()


@parity
def test_signal_handlers_refuse_coroutines_without_debug_too(loop, trace):
    trace.call("signal", loop.add_signal_handler, 10, coroutine_function)


@parity
def test_a_callback_must_be_callable(loop, trace):
    loop.set_debug(True)
    for value in (None, 1, "text"):
        trace.call("call_soon", loop.call_soon, value)
        trace.call("threadsafe", loop.call_soon_threadsafe, value)
        trace.call("call_later", loop.call_later, 1, value)
        trace.call("call_at", loop.call_at, 1, value)
        trace.call("executor", loop.run_in_executor, None, value)


@parity
def test_handles_remember_where_they_were_made(loop, trace):
    def make(function, *args):
        return function(*args)

    makers = {
        "call_soon": (loop.call_soon, named_callback),
        "threadsafe": (loop.call_soon_threadsafe, named_callback),
        "call_later": (loop.call_later, 5, named_callback),
        "call_at": (loop.call_at, 5, named_callback),
    }
    for debug in (True, False):
        loop.set_debug(debug)
        for name, call in makers.items():
            stack = make(*call)._source_traceback
            trace(name, stack and [stack[-1].name, stack[-1].filename == __file__])


@parity
def test_the_handler_learns_where_it_was_made(loop, trace):
    def handler(seen_loop, context):
        stack = context.get("source_traceback")
        trace("keys", sorted(context), stack and stack[-1].name)

    def fail():
        raise ValueError("broken")

    def schedule():
        loop.call_soon(fail)

    loop.set_exception_handler(handler)
    for debug in (False, True):
        loop.set_debug(debug)
        schedule()
        run_ready(loop)


@parity
async def test_slow_io_is_not_reported_as_a_callback(loop, trace):
    loop.set_debug(True)
    await asyncio.sleep(0.001)
    trace("silence")


@parity
def test_debug_with_an_executor_and_timers(loop, trace):
    async def work():
        trace("executor", await loop.run_in_executor(None, sum, [1, 2, 3]))
        await asyncio.sleep(0.001)
        trace("slept")

    loop.set_debug(True)
    loop.run_until_complete(work())
