"""The heap of timers as `loop._scheduled` shows it: its layout, and who may change it.

asyncio promises no order among timers of the same time, but a program sees one. The
layout of the heap decides it, so the layout is compared, cancelled timers included.
"""

import asyncio
import gc
import heapq
import tracemalloc
import warnings
import weakref

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from . import loops
from .framework import compare, parity, promise

EXAMPLES = 150
# Above asyncio's limit from which it drops cancelled timers that do not come first.
MANY = 130
FAR_SECONDS = 1000
LOTS = 20_000

each_loop = pytest.mark.parametrize("loop_name", loops.under_test())
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # the same examples in every run
    phases=[Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)

whens = st.integers(0, 4)
places = st.integers(0, 2 * MANY)
steps = st.one_of(
    st.tuples(st.just("add"), whens),
    st.tuples(st.just("add"), whens),
    st.tuples(st.just("cancel"), places),
    st.tuples(st.just("cancel"), places),
    st.tuples(st.just("cancel by a timer"), whens),
    st.tuples(st.just("add many"), whens),
    st.tuples(st.just("cancel many"), st.integers(10, MANY)),
    st.tuples(st.just("iterate"), st.integers(0, 1)),
    st.tuples(st.just("iterate"), st.integers(0, 1)),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("hold"), st.integers(0, 1)),
    st.tuples(st.just("push a stock handle"), whens),
    st.tuples(st.just("set a time"), places),
)


class Timers:
    """Carries out steps on the timers of a loop whose clock stands still."""

    def __init__(self, loop, trace):
        self.loop = loop
        self.trace = trace
        self.now = 100
        self.handles = []
        self.held = None
        loop.time = lambda: float(self.now)

    def add(self, when, callback=None):
        # Whole numbers: many timers have the same time.
        number = len(self.handles)
        arguments = (callback,) if callback else (self.trace, "ran", number)
        self.handles.append(self.loop.call_at(self.now + when, *arguments))

    def cancel(self, place):
        if self.handles:
            self.handles[place % len(self.handles)].cancel()

    def add_many(self, when):
        for number in range(MANY):
            self.add(1 + (when * number) % 7)

    def cancel_many(self, count):
        for handle in self.handles[-count:]:
            handle.cancel()

    def cancel_by_a_timer(self, when):
        number = len(self.handles)
        self.add(when, lambda: self.cancel_many(number % 5))

    def iterate(self, seconds):
        self.now += seconds
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.trace("cancelled", self.loop._timer_cancelled_count)

    def look(self, _):
        self.trace(
            "look", [(float(h.when()), h.cancelled()) for h in self.loop._scheduled])

    def hold(self, on):
        self.held = self.loop._scheduled if on else None

    def push_a_stock_handle(self, when):
        number = len(self.handles)
        handle = asyncio.TimerHandle(
            self.now + when, self.trace, ("stock handle ran", number), self.loop)
        heapq.heappush(self.loop._scheduled, handle)
        handle._scheduled = True
        self.handles.append(handle)

    def set_a_time(self, place):
        # The time of a cancelled timer is nobody's business any more.
        live = [handle for handle in self.handles if not handle.cancelled()]
        if live:
            handle = live[place % len(live)]
            handle._when = handle._when + place % 3 - 1


def run_steps(loop, trace, steps):
    timers = Timers(loop, trace)
    for name, number in steps:
        getattr(timers, name.replace(" ", "_"))(number)
    timers.look(0)
    for _ in range(10):
        timers.iterate(1)
    trace("left", len(loop._scheduled))
    del loop.time


@each_loop
@bounded
@given(steps=st.lists(steps, min_size=5, max_size=60))
def test_timers_of_one_time_run_in_asyncios_order(loop_name, steps):
    compare(run_steps, loop_name, {"steps": steps})


# Nothing of these looks at the list, so that places become empty.
unseen = steps.filter(lambda step: step[0] in (
    "add", "cancel", "cancel by a timer", "add many", "cancel many", "iterate"))


@each_loop
@bounded
@given(steps=st.lists(unseen, min_size=20, max_size=100))
def test_cancelled_timers_do_not_change_the_order_of_others(loop_name, steps):
    compare(run_steps, loop_name, {"steps": steps})


@promise
def test_a_cancelled_timer_is_released_at_once(loop, trace):
    class Callback:
        def __call__(self):
            """Never called."""

    for count in (0, 1, 7, 300):
        kept = [loop.call_later(FAR_SECONDS + n, print) for n in range(count)]
        callback = Callback()
        handle = loop.call_later(FAR_SECONDS, callback, callback)
        references = weakref.ref(handle), weakref.ref(callback)
        del callback
        handle.cancel()
        assert not handle._scheduled
        assert references[1]() is None
        del handle
        assert references[0]() is None
        assert sum(not h.cancelled() for h in loop._scheduled) == count
        while kept:
            kept.pop().cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert loop._scheduled == []


@parity
def test_a_list_that_is_held_shows_what_happens(loop, trace):
    held = loop._scheduled
    handles = [loop.call_at(loop.time() + FAR_SECONDS - n, print) for n in range(5)]
    trace("held", [handles.index(handle) for handle in held])
    handles[2].cancel()
    trace("cancelled", [handle.cancelled() for handle in held])
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("the same list", held is loop._scheduled, len(held))
    for handle in handles:
        handle.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("empty", held, held is loop._scheduled)


@parity
def test_a_list_that_is_changed_is_the_heap(loop, trace):
    now = loop.time()
    ours = [loop.call_at(now - n, trace, "ours", n) for n in range(3)]
    loop._scheduled.remove(ours[1])
    stock = asyncio.TimerHandle(now - 9, trace, ("appended",), loop)
    heapq.heappush(loop._scheduled, stock)
    ours[1].cancel()
    loop.call_at(now - 1, trace, "ours, added later")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop._scheduled.append(asyncio.TimerHandle(now, trace, ("alone",), loop))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_at(now, trace, "never")
    loop._scheduled.clear()
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("left", len(loop._scheduled))


@parity
def test_a_list_that_is_assigned_is_the_heap(loop, trace):
    now = loop.time()
    dropped = [loop.call_at(now - 1, trace, "never") for _ in range(3)]
    taken = [loop.call_at(now - n, trace, "taken", n) for n in (3, 2, 1)]
    loop._scheduled = taken
    trace("the same list", loop._scheduled is taken)
    del taken
    loop.call_at(now - 2.5, trace, "added")
    # Their places are those of others now.
    for handle in dropped:
        handle.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("left", len(loop._scheduled))


@parity
def test_a_timer_whose_time_is_set_runs_then(loop, trace):
    handles = [loop.call_later(FAR_SECONDS + n, trace, "ran", n) for n in range(3)]
    # As tests of others do that let time pass.
    for handle in list(loop._scheduled):
        handle._when -= FAR_SECONDS + 1
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("scheduled", [handle._scheduled for handle in handles])


@parity
def test_a_cancelled_stock_handle_does_not_run(loop, trace):
    now = loop.time()
    handles = [asyncio.TimerHandle(now - n, trace, ("ran", n), loop) for n in range(4)]
    for handle in handles:
        heapq.heappush(loop._scheduled, handle)
        handle._scheduled = True
    handles[3].cancel()
    handles[1].cancel()
    trace("count", loop._timer_cancelled_count)
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("scheduled", [handle._scheduled for handle in handles])


@promise
def test_a_handle_that_cannot_tell_its_time_is_an_error(loop, trace):
    ran = []
    loop._scheduled.append(object())
    for _ in range(2):
        with pytest.raises(AttributeError, match="_when"):
            loop.call_later(1, print)
    loop._scheduled.clear()
    loop.call_at(0, ran.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == [1]


@promise
def test_a_loop_with_timers_is_collected(loop, trace):
    references = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for looks in (False, True):
            lost = type(loop)()
            handle = lost.call_later(FAR_SECONDS, lost.stop)
            lost.call_later(FAR_SECONDS, print).cancel()
            if looks:
                assert len(lost._scheduled) == 2
            references += [weakref.ref(lost), weakref.ref(handle)]
            del lost, handle
        gc.collect()
    assert [reference() for reference in references] == [None] * 4


def leave_by_running(loop):
    for _ in range(LOTS):
        loop.call_at(0, int)


def leave_by_cancelling(loop):
    for handle in [loop.call_later(FAR_SECONDS, int) for _ in range(LOTS)]:
        handle.cancel()


@pytest.mark.parametrize("leave", [leave_by_running, leave_by_cancelling])
@promise
def test_the_heap_gives_memory_back(loop, trace, leave):
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        leave(loop)
        loop.call_soon(loop.stop)
        loop.run_forever()
        gc.collect()
        # An array of so many times alone takes more.
        assert tracemalloc.get_traced_memory()[0] - before < 8 * LOTS
    finally:
        tracemalloc.stop()


@promise
def test_the_heap_is_whole_after_a_memory_error(loop, trace):
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")

    def add_without_memory(skipped):
        testcapi.set_nomemory(skipped, skipped + 1)
        try:
            loop.call_at(*arguments)
        except MemoryError:
            return 0
        finally:
            testcapi.remove_mem_hooks()
        return 1

    ran = []
    failed = 0
    # Each allocation of a call fails once, at each size at which an array may grow.
    for size in range(1, 140):
        now = loop.time()
        arguments = now - 3.5, ran.append, 3.5
        for skipped in range(8):
            for number in range(size):
                loop.call_at(now - number % 7, ran.append, number % 7)
            added = add_without_memory(skipped)
            failed += not added
            loop.call_soon(loop.stop)
            loop.run_forever()
            assert len(ran) == size + added
            assert ran == sorted(ran, reverse=True)
            ran.clear()
    assert failed > 140
