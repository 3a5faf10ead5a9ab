"""Turn a test body into a test that runs it on the stock loop and on ours.

A body takes a fresh `loop` and a `trace`, and whatever else pytest gives it; it
may be a coroutine function. `parity` demands the stock loop's trace of every
loop under test. `promise` runs the body on the loops under test only: for what
we promise and asyncio does not, with assertions in the body.
"""

import asyncio
import functools
import gc
import inspect
import os

import pytest

from tests.slowness import PATIENCE_SECONDS

from . import loops
from .tracing import LogLane, Trace, difference

# A coroutine body that waits longer hangs; the trace then shows how far it came.
BODY_SECONDS = 3 * PATIENCE_SECONDS

STOCK_TRACES = {}

# For bodies in which the stock loop itself leaves a socket to the collector.
stock_leaks_a_socket = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def parity(body):
    return as_test(body, functools.partial(compare, body))


def compare(body, loop_name, given):
    """Fail unless the body sees on this loop what it sees on the stock loop."""
    expected = stock_trace(body, given)
    actual, error = record(loop_name, body, given)
    if error is not None or expected != actual:
        pytest.fail(report(body, loop_name, expected, actual, error))
    assert len(expected) > 1, "a body that records nothing cannot fail"


def stock_trace(body, given):
    """What the body sees on the stock loop; asked once for all loops under test."""
    key = body, repr(sorted(given.items()))
    if key not in STOCK_TRACES:
        trace, error = record(loops.STOCK, body, given)
        if error is not None:
            raise error
        STOCK_TRACES[key] = trace
    return STOCK_TRACES[key]


def promise(body, without=(loops.STOCK,)):
    def test(loop_name, given):
        error = record(loop_name, body, given)[1]
        if error is not None:
            raise error

    return as_test(body, test, without)


def as_test(body, test, without=()):
    """Give the test the body's name and parameters, and one run for each loop."""
    names = [name for name in loops.under_test() if name not in without]

    @pytest.mark.parametrize("loop_name", names)
    @functools.wraps(body)
    def run(loop_name, **given):
        test(loop_name, given)

    own = ("loop", "trace")
    given = [p for p in inspect.signature(body).parameters.values()
             if p.name not in own]
    name = inspect.Parameter("loop_name", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([name, *given])
    return run


def record(loop_name, body, given):
    """Run the body on one loop: its trace, and what escaped from it."""
    trace = Trace()
    error = None
    gc.collect()
    fds_before = open_fds()
    with LogLane(trace):
        loop = loops.new(loop_name)
        # In debug mode a busy machine makes any callback slow, and asyncio logs it.
        loop.slow_callback_duration = 1000
        loop.set_exception_handler(trace.exception_handler)
        try:
            run_body(loop, trace, body, given)
        except Exception as exc:
            error = exc
            trace.lane("escaped")("from the body", exc)
        finally:
            finish(loop)
    del loop
    gc.collect()
    trace.lane("left open")("descriptors", len(open_fds() - fds_before))
    return trace.lines(), error


def run_body(loop, trace, body, given):
    if not inspect.iscoroutinefunction(body):
        body(loop, trace, **given)
        return

    async def bounded():
        async with asyncio.timeout(BODY_SECONDS):
            await body(loop, trace, **given)

    loop.run_until_complete(bounded())


def finish(loop):
    """Close a loop the way asyncio.run does, whatever the body left behind."""
    if loop.is_closed():
        return
    loop.set_task_factory(None)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True)
                            if tasks else asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    # Transports that were closed above report it in one more iteration.
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def open_fds():
    """Descriptors with what they point at, so that a reused number counts."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return found


def report(body, loop_name, expected, actual, error):
    lines = [f"{body.__name__} on {loop_name} differs from the stock loop:"]
    lines.append(difference(expected, actual, loop_name) or "(the traces are equal)")
    if error is not None:
        lines.append(f"escaped: {error!r}, cause {error.__cause__!r}")
        frame = error.__traceback__
        while frame is not None:
            code = frame.tb_frame.f_code
            lines.append(f"  {code.co_filename}:{frame.tb_lineno} {code.co_qualname}")
            frame = frame.tb_next
    return "\n".join(lines)
