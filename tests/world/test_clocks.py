"""A clock that a test has replaced moves the loop's timers as it moves asyncio's."""

import asyncio
import time
from unittest import mock

import pytest

from ..stress import children
from . import kit
from .kit import every_name

HOUR = 3600
real = time.monotonic


@pytest.fixture
def run(loop):
    """Not bounded by a timer of the loop, which would follow the clock as well."""
    return loop.run_until_complete


class Clock:
    """A replacement of time.monotonic that stands still until it is moved."""

    def __init__(self):
        self.now = real()

    def __call__(self):
        return self.now


def ahead():
    return real() + HOUR


def test_time_follows_a_patch_outside_of_a_run(loop):
    with mock.patch("time.monotonic", ahead):
        assert loop.time() - real() > HOUR - 60
    assert loop.time() - real() < 60


def test_time_follows_a_patch_within_a_run(run, loop):
    async def main():
        before = loop.time()
        with mock.patch("time.monotonic", ahead):
            during = loop.time()
        return during - before, loop.time() - before

    during, after = run(main())
    assert during > HOUR - 60
    assert after < 60


@pytest.mark.parametrize("replace", ["mock", "assignment"])
def test_a_patch_before_the_run_moves_timers(run, loop, replace, monkeypatch):
    fired = []
    timer = loop.call_later(HOUR / 2, fired.append, "timer")
    if replace == "mock":
        with mock.patch("time.monotonic", ahead):
            loop.run_until_complete(kit.turns())
    else:
        monkeypatch.setattr(time, "monotonic", ahead)
        loop.run_until_complete(kit.turns())
        monkeypatch.undo()
    assert fired == ["timer"]
    timer.cancel()


def test_a_patch_within_a_run_moves_timers(run, loop):
    async def main():
        fired = []
        timer = loop.call_later(HOUR / 2, fired.append, "timer")
        await kit.turns()
        assert fired == []
        with mock.patch("time.monotonic", ahead):
            await kit.turns()
        timer.cancel()
        return fired

    assert run(main()) == ["timer"]


def test_a_timer_set_under_the_patch_counts_by_it(run, loop):
    async def main():
        fired = []
        clock = Clock()
        with mock.patch("time.monotonic", clock):
            loop.call_later(10, fired.append, "ten")
            loop.call_later(20, fired.append, "twenty")
            clock.now += 15
            await kit.turns()
            first = list(fired)
            clock.now += 6
            await kit.turns()
        return first, fired

    assert run(main()) == (["ten"], ["ten", "twenty"])


def test_a_frozen_clock_freezes_timers_and_nothing_else(run, loop):
    """A timer of a millisecond does not fire, whereas I/O and threads are heard."""

    async def main():
        clock = Clock()
        fired = []
        with mock.patch("time.monotonic", clock):
            timer = loop.call_later(0.001, fired.append, "early")
            transport, protocol, far = await kit.wired(loop, "tcp")
            for number in range(1, 6):
                far.sendall(b"x")
                await protocol.got(number)
                await kit.blocking(int)
            frozen = list(fired)
            clock.now += 1
            await kit.turns()
        timer.cancel()
        transport.abort()
        far.close()
        await kit.turns()
        return frozen, fired

    assert run(main()) == ([], ["early"])


def test_a_patch_that_ends_before_the_run_is_forgotten(run, loop):
    with mock.patch("time.monotonic", ahead):
        run(kit.turns())
    fired = []
    timer = loop.call_later(HOUR / 2, fired.append, "timer")
    run(kit.turns())
    timer.cancel()
    assert fired == []


# ---- tools that replace the selector's select() -------------------------------------

# Either such a tool works, or it is told at once that it cannot; `told` prints it. A
# test of virtual time that hangs tells nobody anything.
VIRTUAL = """
import time
from unittest import mock

now = 0.0
loop = new_loop()

def virtual(select):
    def fake(timeout):
        global now
        events = select(0)
        if not events and timeout:
            now += timeout
        return events
    return fake

class Selector:
    def __init__(self, real):
        self.real = real
    def select(self, timeout=None):
        return virtual(self.real.select)(timeout)
    def __getattr__(self, name):
        return getattr(self.real, name)

async def main():
    began = time.monotonic()
    await asyncio.sleep(3600)
    async with asyncio.timeout(7200):
        await asyncio.gather(asyncio.sleep(10), asyncio.sleep(1800))
    assert time.monotonic() - began < 60
    print("worked", round(now))

def told(error):
    assert "select" in str(error), error
    print("told")

try:
    {replace}
except (AttributeError, TypeError, NotImplementedError, RuntimeError) as error:
    told(error)
loop.close()
"""

RUN = "loop.time = lambda: now; loop.run_until_complete(main())"
WAYS = {
    "assignment": f"""
    loop._selector.select = virtual(loop._selector.select)
    {RUN}""",
    "assignment without the original": f"""
    loop._selector.select = virtual(lambda timeout: [])
    {RUN}""",
    "mock": f"""
    with mock.patch.object(loop._selector, "select", virtual(loop._selector.select)):
        {RUN}""",
    "another selector": f"""
    loop._selector = Selector(loop._selector)
    {RUN}""",
    "within the run": """
    async def patched():
        loop.time = lambda: now
        loop._selector.select = virtual(loop._selector.select)
        await main()
    loop.run_until_complete(patched())""",
}


@every_name
@pytest.mark.parametrize("way", WAYS)
def test_virtual_time_works_or_is_refused(loop_name, way):
    words = children.run(VIRTUAL.replace("{replace}", WAYS[way].strip()), loop_name)
    assert words[0] in ("worked", "told")
    if loop_name == kit.STOCK:
        assert words[0] == "worked"
    if words[0] == "worked":
        assert 5400 <= int(words[1]) < 5500
