"""Exceptions in callbacks, the handlers that hear of them, and broken handlers."""

import asyncio
import contextvars
import gc
import sys

from .framework import parity

VAR = contextvars.ContextVar("VAR", default="unset")


def fail(*args):
    raise ValueError("broken", *args)


def run_ready(loop):
    loop.stop()
    loop.run_forever()


@parity
def test_an_exception_reaches_the_handler_and_no_further(loop, trace):
    loop.call_soon(fail)
    loop.call_soon(fail, 1)
    loop.call_later(0, fail, 2)
    loop.call_soon_threadsafe(fail, 3)
    loop.call_soon(trace, "the rest runs")
    run_ready(loop)
    run_ready(loop)


@parity
def test_the_message_names_the_callback(loop, trace):
    def handler(seen_loop, context):
        where = context["message"].removeprefix("Exception in callback ")
        trace("handler", seen_loop is loop, where, context["exception"])
        trace("keys", sorted(context), repr(context["handle"]))

    loop.set_exception_handler(handler)
    for debug in (False, True):
        loop.set_debug(debug)
        loop.call_soon(fail, "argument")
        run_ready(loop)


@parity
def test_the_default_handler_logs(loop, trace):
    loop.set_exception_handler(None)
    loop.call_soon(fail)
    run_ready(loop)
    loop.call_exception_handler({"message": "a message"})
    loop.call_exception_handler({})
    loop.call_exception_handler({"exception": ValueError("alone")})
    trace.call("not a dictionary", loop.call_exception_handler, None)


@parity
def test_set_exception_handler_checks_its_argument(loop, trace):
    for value in (7, "text", object):
        trace.call("set", loop.set_exception_handler, value)
    trace("handler", loop.get_exception_handler() is object)
    loop.set_exception_handler(None)
    trace("handler", loop.get_exception_handler())


@parity
def test_a_handler_that_raises_is_logged(loop, trace):
    def handler(seen_loop, context):
        trace("called", context["message"])
        raise ZeroDivisionError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(trace, "the rest runs")
    run_ready(loop)


@parity
def test_a_fatal_error_in_the_handler_comes_out(loop, trace):
    def handler(seen_loop, context):
        raise KeyboardInterrupt("in the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(trace, "the rest runs later")
    try:
        run_ready(loop)
    except KeyboardInterrupt as exc:
        trace("came out", exc)
    run_ready(loop)


@parity
def test_the_handler_runs_in_the_callbacks_context(loop, trace):
    loop.set_exception_handler(lambda *args: trace("handler sees", VAR.get()))
    context = contextvars.copy_context()
    context.run(VAR.set, "of the callback")
    loop.call_soon(fail, context=context)
    run_ready(loop)

    async def in_task():
        VAR.set("of the task")
        fail()

    task = loop.create_task(in_task())
    run_ready(loop)
    run_ready(loop)
    del task
    gc.collect()


@parity
def test_an_overridden_default_handler_is_used(loop, trace):
    def default(context):
        trace("default", context["message"])
        raise ValueError("the default handler fails too")

    loop.set_exception_handler(None)
    loop.default_exception_handler = default
    loop.call_soon(fail)
    loop.call_soon(trace, "the rest runs")
    run_ready(loop)


@parity
def test_a_future_whose_exception_nobody_took(loop, trace):
    future = loop.create_future()
    future.set_exception(ValueError("nobody asked"))
    del future
    gc.collect()
    run_ready(loop)
    trace("done")


@parity
def test_a_task_that_is_destroyed_while_it_waits(loop, trace):
    async def wait_for_nobody():
        await loop.create_future()

    task = loop.create_task(wait_for_nobody())
    run_ready(loop)
    del task
    gc.collect()
    trace("done")


@parity
def test_exceptions_in_done_callbacks(loop, trace):
    future = loop.create_future()
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: trace("the next callback"))
    future.set_result(None)
    run_ready(loop)


@parity
def test_exceptions_in_a_group_of_callbacks_are_each_reported(loop, trace):
    for number in range(5):
        loop.call_soon(fail, number)
        loop.call_soon(trace, "between", number)
    run_ready(loop)


@parity
def test_the_traceback_does_not_keep_frames_alive(loop, trace):
    class Held:
        pass

    import weakref

    held = Held()
    watch = weakref.ref(held)

    def use(value):
        raise ValueError("with a frame")

    loop.set_exception_handler(lambda *args: trace("handler"))
    loop.call_soon(use, held)
    del held
    run_ready(loop)
    gc.collect()
    trace("gone", watch() is None)
    trace("no current error", sys.exc_info()[0])


@parity
def test_stop_iteration_cannot_be_set(loop, trace):
    future = loop.create_future()
    trace.call("set", future.set_exception, StopIteration("no"))
    loop.call_soon(next, iter(()))  # raises StopIteration out of the callback
    run_ready(loop)


@parity
async def test_a_cancelled_error_in_a_callback_is_reported(loop, trace):
    def cancel():
        raise asyncio.CancelledError("odd")

    loop.call_soon(cancel)
    await asyncio.sleep(0)
    trace("the task goes on")
