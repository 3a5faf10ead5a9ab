"""Clocks and waits that tests of others put into a loop: time.monotonic, select()."""

import asyncio
import functools
import selectors
import sys
import threading
import time
import unittest.mock

import pytest
import uring_loop

from .framework import parity

FAR_SECONDS = 1000


def patched_clock(function, where="time.monotonic"):
    return unittest.mock.patch(where, function)


@parity
def test_time_follows_a_patched_time_monotonic_at_once(loop, trace):
    with patched_clock(lambda: 12345.5):
        trace("outside a run", loop.time())

    async def main():
        with patched_clock(lambda: 54321.5):
            trace("inside", loop.time(), loop.call_later(1, print).when())
        trace("afterwards", abs(loop.time() - time.monotonic()) < 60)

    loop.run_until_complete(main())


@parity
def test_a_clock_in_the_place_of_asyncios_time_module(loop, trace):
    class Module:
        monotonic = staticmethod(lambda: 7.5)

    with patched_clock(Module, "asyncio.base_events.time"):
        trace("time", loop.time())


@parity
def test_timers_follow_a_patched_clock_inside_a_run(loop, trace):
    real = time.monotonic

    async def main():
        loop.call_later(FAR_SECONDS, trace, "timer")
        with patched_clock(lambda: real() + FAR_SECONDS + 1):
            for number in range(3):
                await asyncio.sleep(0)
                trace("iteration", number)
        loop.call_later(FAR_SECONDS, trace, "never")
        await asyncio.sleep(0)

    loop.run_until_complete(main())


@parity
def test_call_later_counts_from_the_patched_clock(loop, trace):
    """No iteration between the patch and the call."""
    real = time.monotonic

    async def main():
        with patched_clock(lambda: real() + FAR_SECONDS):
            loop.call_later(1, trace, "too early")
        for _ in range(3):
            await asyncio.sleep(0)
        trace("nothing")

    loop.run_until_complete(main())


@parity
def test_a_loop_that_waits_for_a_clock_that_stands_still_sleeps(loop, trace):
    """Each look at the clock is one iteration, which sleeps as long as is missing."""
    asked = []

    def clock():
        asked.append(1)
        return 100.0

    def come_late():
        # Real time: longer than many iterations would take that do not sleep.
        time.sleep(0.1)
        loop.call_soon_threadsafe(loop.stop)

    with patched_clock(clock):
        loop.call_at(100.0 + FAR_SECONDS, trace, "never")
        thread = threading.Thread(target=come_late)
        thread.start()
        loop.run_forever()
        thread.join()
    trace("few looks", len(asked) < 50)


@parity
def test_a_jump_of_the_clock_counts_at_the_next_wake_up(loop, trace):
    now = [100.0]
    with patched_clock(lambda: now[0]):
        loop.call_later(FAR_SECONDS, trace, "timer")
        loop.call_later(FAR_SECONDS + 1, loop.stop)

        def jump():
            now[0] += FAR_SECONDS + 2
            loop.call_soon_threadsafe(trace, "woken")

        thread = threading.Timer(0.05, jump)
        thread.start()
        loop.run_forever()
        thread.join()


@parity
def test_a_patched_clock_that_raises(loop, trace):
    def clock():
        raise ZeroDivisionError

    with patched_clock(clock):
        trace.call("time", loop.time)
        trace.call("call_later", loop.call_later, 1, print)


# ---- select() -------------------------------------------------------------------


class VirtualTime:
    """A tool for tests: nothing waits, the clock jumps to the next timer instead."""

    def __init__(self, loop, trace):
        self.loop = loop
        self.trace = trace
        self.now = 0.0

    def select(self, select, timeout):
        self.trace("select", None if timeout is None else float(timeout))
        if timeout is not None:
            self.now += timeout
        return select(0)

    def patch_select(self):
        selector = self.loop._selector
        return unittest.mock.patch.object(
            selector, "select", functools.partial(self.select, selector.select))

    def patch_time(self):
        return unittest.mock.patch.object(self.loop, "time", lambda: self.now)


async def sleepers(trace):
    async def sleeper(seconds):
        await asyncio.sleep(seconds)
        trace("slept", seconds)

    async with asyncio.timeout(FAR_SECONDS):
        await asyncio.gather(*map(sleeper, (100, 10, 50, 0)))


@parity
def test_virtual_time_by_a_replaced_select(loop, trace):
    tool = VirtualTime(loop, trace)
    with tool.patch_select(), tool.patch_time():
        loop.run_until_complete(sleepers(trace))
    trace("time", tool.now)
    loop.run_until_complete(asyncio.sleep(0.001))


@parity
def test_a_select_that_is_replaced_while_the_loop_runs(loop, trace):
    tool = VirtualTime(loop, trace)

    async def main():
        with tool.patch_select(), tool.patch_time():
            await sleepers(trace)

    loop.run_until_complete(main())


class Wrapper(selectors.BaseSelector):
    """A selector in the place of the loop's own, which it asks."""

    def __init__(self, inner, tool):
        self.inner = inner
        self.tool = tool

    def select(self, timeout=None):
        return self.tool.select(self.inner.select, timeout)

    def get_map(self):
        return self.inner.get_map()

    def get_key(self, fileobj):
        return self.inner.get_key(fileobj)

    def register(self, *args):
        return self.inner.register(*args)

    def unregister(self, *args):
        return self.inner.unregister(*args)

    def modify(self, *args):
        return self.inner.modify(*args)

    def close(self):
        self.inner.close()


@parity
def test_virtual_time_by_a_selector_round_the_loops_own(loop, trace):
    tool = VirtualTime(loop, trace)
    loop._selector = Wrapper(loop._selector, tool)
    with tool.patch_time():
        loop.run_until_complete(sleepers(trace))
    trace("time", tool.now)


@parity
def test_a_replaced_select_that_sleeps_hears_of_sockets_and_threads(
        loop, trace):
    selector = loop._selector
    select = selector.select
    timeouts = []

    def observe(timeout=None):
        timeouts.append(timeout)
        return select(timeout)

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        for number in range(5):
            writer.write(b"%d" % number)
            trace("answer", await reader.readexactly(1))
        writer.close()
        server.close()
        trace("thread", await loop.run_in_executor(None, abs, -1))
        await asyncio.sleep(0.01)

    async def echo(reader, writer):
        while data := await reader.read(1):
            writer.write(data)
        writer.close()

    with unittest.mock.patch.object(selector, "select", observe):
        loop.run_until_complete(main())
    trace("asked", bool(timeouts))
    trace("slept", any(timeout is None or timeout > 0 for timeout in timeouts))


def test_a_selector_that_cannot_see_the_ring_is_refused():
    """It would sleep for ever while completions wait."""
    loop = uring_loop.Loop(backend="io_uring")
    own = loop._selector
    other = selectors.DefaultSelector()
    try:
        with pytest.raises(RuntimeError, match="may be wrapped, but not replaced"):
            loop._selector = other
    finally:
        loop._selector = own
        other.close()
        loop.close()


def test_select_is_not_for_calls_from_elsewhere():
    loop = uring_loop.Loop(backend="io_uring")
    with pytest.raises(RuntimeError, match="readiness is reported by the ring"):
        loop._selector.select(0)
    loop.close()


@pytest.mark.skipif(sys.version_info < (3, 15),
                    reason="before 3.15, asyncio waits for such a timer for ever")
@pytest.mark.parametrize("now", [2.0**40, 2.0**60, -2.0**60])
@parity
def test_a_timer_is_due_where_the_clock_is_coarser_than_its_resolution(
        loop, trace, now):
    loop.time = lambda: now
    loop.call_at(now, trace, "due")
    loop.call_at(now, loop.stop)
    loop.run_forever()
    del loop.time
