"""run_forever, run_until_complete, stop and close: who may, when, and what is left."""

import asyncio
import sys
import threading

import pytest

from .framework import parity, promise

FATAL = (KeyboardInterrupt, SystemExit)


def run_ready(loop):
    loop.stop()
    loop.run_forever()


def call_fatal(trace, label, function, *args):
    """Lane.call for errors that are no Exception."""
    try:
        trace(label, "returned", function(*args))
    except BaseException as exc:
        trace(label, "raised", exc)


@parity
def test_stop_before_the_run_means_one_iteration(loop, trace):
    loop.call_soon(trace, "ready")
    loop.call_soon(loop.call_soon, trace, "next")
    loop.stop()
    trace("running", loop.is_running())
    loop.run_forever()
    trace("returned")
    run_ready(loop)


@parity
def test_stop_lets_the_iteration_finish(loop, trace):
    loop.call_soon(trace, "before")
    loop.call_soon(loop.stop)
    loop.call_soon(trace, "after")
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("returned")
    loop.call_soon(trace, "again")
    loop.call_soon(loop.stop)
    loop.run_forever()


@parity
def test_the_loop_knows_that_it_runs(loop, trace):
    def look():
        trace("running", loop.is_running(), asyncio.get_running_loop() is loop)
        trace("thread", loop._thread_id == threading.get_ident())

    trace("before", loop.is_running(), loop._thread_id)
    loop.call_soon(look)
    run_ready(loop)
    trace("after", loop.is_running(), loop._thread_id)
    trace.call("outside", asyncio.get_running_loop)


@parity
def test_run_until_complete_gives_the_result(loop, trace):
    async def answer():
        return 42

    async def fail():
        raise ValueError("no answer")

    future = loop.create_future()
    loop.call_soon(future.set_result, "set")
    trace.call("coroutine", loop.run_until_complete, answer())
    trace.call("coroutine that raises", loop.run_until_complete, fail())
    trace.call("future", loop.run_until_complete, future)
    trace.call("a done future", loop.run_until_complete, future)
    trace.call("task", loop.run_until_complete, loop.create_task(answer()))


@parity
def test_run_until_complete_takes_any_awaitable(loop, trace):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    trace.call("awaitable", loop.run_until_complete, Awaitable())


@parity
def test_run_until_complete_refuses_the_rest(loop, trace):
    for value in (None, 7, "text", print, [1]):
        trace.call("not awaitable", loop.run_until_complete, value)
    other = asyncio.new_event_loop()
    foreign = other.create_future()
    trace.call("another loop's future", loop.run_until_complete, foreign)
    other.close()


@parity
def test_run_until_complete_of_a_cancelled_future(loop, trace):
    future = loop.create_future()
    loop.call_soon(future.cancel)
    call_fatal(trace, "cancelled", loop.run_until_complete, future)


@parity
def test_stopping_before_completion_is_an_error(loop, trace):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    trace.call("stopped early", loop.run_until_complete, future)
    loop.call_soon(future.set_result, "late")
    trace.call("a second run", loop.run_until_complete, future)


@parity
def test_completion_does_not_cut_the_iteration_short(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda _: trace("a callback of its own"))
    loop.call_soon(future.set_result, None)
    loop.call_soon(trace, "same iteration")
    loop.call_soon(loop.call_soon, trace, "next iteration")
    loop.call_soon(loop.call_soon, loop.call_soon, trace, "third iteration")
    loop.run_until_complete(future)
    trace("returned")


# Not compared with asyncio: its 3.13.0 forgets, when it refuses a second run, that
# the first one is under way.
ALREADY = "This event loop is already running"
ANOTHER = "Cannot run the event loop while another loop is running"


def refusal(run, *args):
    with pytest.raises(RuntimeError) as caught:
        run(*args)
    return str(caught.value)


@promise
def test_running_twice_is_refused(loop, trace):
    other = asyncio.SelectorEventLoop()
    seen = []

    def inside():
        seen.append(refusal(loop.run_forever))
        seen.append(refusal(loop.run_until_complete, loop.create_future()))
        seen.append(loop.is_running())
        seen.append(asyncio.get_running_loop() is loop)
        seen.append(refusal(other.run_forever))

    loop.call_soon(inside)
    run_ready(loop)
    other.close()
    assert seen == [ALREADY, ALREADY, True, True, ANOTHER]
    assert not loop.is_running()


@promise
def test_running_inside_another_loop_is_refused(loop, trace):
    async def outer():
        first = refusal(loop.run_forever)
        second = refusal(loop.run_until_complete, loop.create_future())
        return [first, second, asyncio.get_running_loop() is not loop]

    assert asyncio.run(outer()) == [ANOTHER, ANOTHER, True]
    loop.call_soon(trace, "works afterwards")
    run_ready(loop)
    assert trace.events()


@promise
def test_running_from_two_threads_is_refused(loop, trace):
    seen = []

    def try_it():
        seen.append(refusal(loop.run_forever))

    def inside():
        attempt = threading.Thread(target=try_it)
        attempt.start()
        attempt.join()
        seen.append(loop.is_running())

    loop.call_soon(inside)
    run_ready(loop)
    assert seen == [ALREADY, True]


@parity
def test_one_thread_after_another_may_run_the_loop(loop, trace):
    def speak(name):
        loop.call_soon(trace, "in", name)
        run_ready(loop)
        trace("id is gone", loop._thread_id)

    speak("main")
    for name in ("first", "second"):
        thread = threading.Thread(target=trace.call, args=("speak", speak, name))
        thread.start()
        thread.join()
    speak("main again")


@parity
def test_a_closed_loop_does_not_run(loop, trace):
    loop.close()
    coroutine = asyncio.sleep(0)
    trace.call("run_forever", loop.run_forever)
    trace.call("run_until_complete", loop.run_until_complete, coroutine)
    coroutine.close()
    trace("closed", loop.is_closed(), loop.is_running())


@parity
def test_close_twice_and_close_while_running(loop, trace):
    loop.call_soon(trace.call, "close inside", loop.close)
    loop.call_soon(lambda: trace("closed", loop.is_closed()))
    run_ready(loop)
    loop.close()
    loop.close()
    trace("closed", loop.is_closed())


@parity
def test_close_forgets_what_was_scheduled(loop, trace):
    soon = loop.call_soon(trace, "never")
    later = loop.call_later(1, trace, "never")
    loop.close()
    trace("left", len(loop._ready), len(loop._scheduled))
    trace("cancelled", soon.cancelled(), later.cancelled())


@pytest.mark.parametrize("fatal", FATAL)
@parity
def test_a_fatal_error_leaves_the_rest_of_the_queue(loop, trace, fatal):
    def die():
        raise fatal("now")

    loop.call_soon(trace, "before")
    loop.call_soon(die)
    loop.call_soon(trace, "after")
    call_fatal(trace, "run", loop.run_forever)
    trace("running", loop.is_running(), loop.is_closed(), len(loop._ready))
    run_ready(loop)


@pytest.mark.parametrize("fatal", FATAL)
@parity
def test_a_fatal_error_in_a_task_comes_out(loop, trace, fatal):
    async def die():
        await asyncio.sleep(0)
        raise fatal("now")

    async def outer():
        await asyncio.gather(die(), asyncio.sleep(1000))

    call_fatal(trace, "run", loop.run_until_complete, outer())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    run_ready(loop)
    trace("left", len(asyncio.all_tasks(loop)))


@parity
def test_a_fatal_error_in_a_timer_comes_out(loop, trace):
    def die():
        raise KeyboardInterrupt

    when = loop.time()
    loop.call_at(when, die)
    loop.call_at(when + 0.0001, loop.stop)
    call_fatal(trace, "run", loop.run_forever)
    loop.run_forever()


@parity
def test_other_base_exceptions_are_only_reported(loop, trace):
    class Strange(BaseException):
        """Neither Exception nor one of the two that end programs."""

    def die():
        raise Strange("odd")

    loop.call_soon(die)
    loop.call_soon(trace, "after")
    call_fatal(trace, "run", run_ready, loop)


@parity
def test_async_generator_hooks_are_put_back(loop, trace):
    before = sys.get_asyncgen_hooks()
    loop.call_soon(lambda: trace("inside", sys.get_asyncgen_hooks() == before))
    run_ready(loop)
    trace("after", sys.get_asyncgen_hooks() == before)


@parity
def test_origin_tracking_is_put_back(loop, trace):
    def depth():
        return sys.get_coroutine_origin_tracking_depth()

    loop.set_debug(True)
    trace("before", depth())
    loop.call_soon(lambda: trace("inside", depth()))
    loop.call_soon(loop.set_debug, False)
    loop.call_soon(loop.call_soon, lambda: trace("switched off", depth()))
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    trace("after", depth())


@parity
def test_repr_tells_the_state(loop, trace):
    trace("fresh", repr(loop))
    loop.call_soon(lambda: trace("running", repr(loop)))
    loop.set_debug(True)
    run_ready(loop)
    loop.close()
    trace("closed", repr(loop))
