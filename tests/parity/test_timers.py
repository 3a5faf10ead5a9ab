"""call_later and call_at: order, cancelling, arguments, and never too early."""

import fractions
import time
import unittest.mock

from .framework import parity, promise

FAR_SECONDS = 1000


def run_until_stopped(loop, delay):
    loop.call_later(delay, loop.stop)
    loop.run_forever()


@parity
def test_timers_run_in_the_order_of_their_times(loop, trace):
    start = loop.time()
    for delay in (0.03, 0.01, 0.02, 0.005, 0.04):
        loop.call_at(start + delay, trace, "timer", delay)
    loop.call_at(start + 0.05, loop.stop)
    loop.run_forever()


@parity
def test_two_timers_of_one_time_run_in_the_order_of_scheduling(loop, trace):
    when = loop.time() + 0.01
    loop.call_at(when, trace, "first")
    loop.call_at(when, trace, "second")
    loop.call_at(when + 0.001, loop.stop)
    loop.run_forever()


@parity
def test_timers_of_one_time_run_in_one_iteration(loop, trace):
    seen = []
    when = loop.time() + 0.01
    for number in range(20):
        loop.call_at(when, seen.append, number)
    loop.call_at(when, loop.call_soon, trace, "the next iteration")
    loop.call_at(when, loop.stop)
    loop.run_forever()
    trace("seen", sorted(seen))


@parity
def test_timers_that_are_past_run_by_time_not_by_scheduling(loop, trace):
    now = loop.time()
    loop.call_at(now - 1, trace, "one second ago")
    loop.call_at(now - 3, trace, "three seconds ago")
    loop.call_at(now - 2, trace, "two seconds ago")
    loop.call_later(-10, trace, "negative delay")
    loop.call_at(0, trace, "at zero")
    run_until_stopped(loop, 0.001)


@parity
def test_a_timer_that_is_due_runs_after_what_is_ready(loop, trace):
    loop.call_at(loop.time() - 1, trace, "timer")
    loop.call_soon(trace, "ready")
    loop.stop()
    loop.run_forever()


@parity
def test_call_later_zero_waits_for_the_next_iteration(loop, trace):
    def inside():
        loop.call_later(0, trace, "later")
        loop.call_soon(trace, "soon")

    loop.call_soon(inside)
    loop.call_soon(trace, "same iteration")
    loop.call_soon(loop.stop)
    loop.run_forever()
    trace("between")
    loop.stop()
    loop.run_forever()


@parity
def test_a_cancelled_timer_does_not_run(loop, trace):
    now = loop.time()
    cancelled = loop.call_at(now + 0.005, trace, "never")
    loop.call_at(now + 0.001, cancelled.cancel)
    trace("cancelled", cancelled.cancelled())
    run_until_stopped(loop, 0.01)
    trace("cancelled", cancelled.cancelled())


@parity
def test_cancelling_within_the_iteration_that_would_run_it(loop, trace):
    when = loop.time() + 0.001
    handles = []

    def first():
        trace("first")
        for handle in handles:
            handle.cancel()

    loop.call_at(when, first)
    handles.append(loop.call_at(when, trace, "never"))
    handles.append(loop.call_at(when + 0.0001, trace, "never"))
    run_until_stopped(loop, 0.005)


@parity
def test_cancelling_after_the_run_is_allowed(loop, trace):
    handle = loop.call_later(0, trace, "ran")
    run_until_stopped(loop, 0.001)
    trace("cancelled before", handle.cancelled())
    handle.cancel()
    handle.cancel()
    trace("cancelled after", handle.cancelled())


@parity
def test_wrong_times_are_refused(loop, trace):
    trace.call("call_later None", loop.call_later, None, print)
    trace.call("call_at None", loop.call_at, None, print)
    trace.call_class("call_later text", loop.call_later, "1", print)
    trace.call_class("call_later object", loop.call_later, object(), print)


@parity
def test_odd_but_valid_times(loop, trace):
    for delay in (False, True, 10**9, float("inf"), 1e300):
        handle = loop.call_later(delay, trace, "never" if delay else "now")
        trace("when is later than now", handle.when() > loop.time())
    run_until_stopped(loop, 0.001)


@parity
def test_the_scheduled_flag_follows_the_timer(loop, trace):
    far = loop.call_later(FAR_SECONDS, print)
    near = loop.call_later(0, print.__class__, 1)
    trace("scheduled", far._scheduled, near._scheduled)
    run_until_stopped(loop, 0.001)
    trace("scheduled", far._scheduled, near._scheduled)
    far.cancel()
    loop.stop()
    loop.run_forever()
    trace("scheduled after an iteration", far._scheduled)


@parity
def test_cancelled_timers_are_swept_out(loop, trace):
    handles = [loop.call_later(FAR_SECONDS + n, print) for n in range(250)]
    trace("scheduled", len(loop._scheduled))
    for count in (10, 49, 100, 150, 200, 250):
        for handle in handles[:count]:
            handle.cancel()
        loop.stop()
        loop.run_forever()
        trace("left after cancelling", count, len(loop._scheduled))


@parity
def test_a_few_cancelled_timers_go_when_they_come_first(loop, trace):
    handles = [loop.call_later(FAR_SECONDS + n, print) for n in range(20)]
    for number in (0, 1, 2, 5, 6):
        handles[number].cancel()
    loop.stop()
    loop.run_forever()
    trace("left", len(loop._scheduled))
    for handle in handles:
        handle.cancel()
    loop.stop()
    loop.run_forever()
    trace("left", len(loop._scheduled))


@parity
def test_time_is_the_monotonic_clock(loop, trace):
    trace("type", type(loop.time()))
    before = time.monotonic()
    readings = [loop.time() for _ in range(100)]
    after = time.monotonic()
    trace("ascending", readings == sorted(readings))
    trace("the same clock", before <= readings[0], readings[-1] <= after)


@parity
def test_an_overridden_clock_decides(loop, trace):
    """Test suites of others replace loop.time to travel."""
    real = loop.time
    shift = [0.0]
    loop.time = lambda: real() + shift[0]
    loop.call_later(FAR_SECONDS, trace, "travelled")

    def travel():
        shift[0] = FAR_SECONDS
        loop.call_soon(loop.call_soon, loop.stop)

    loop.call_soon(travel)
    loop.run_forever()


@parity
def test_a_clock_patched_while_the_loop_runs_decides_at_once(loop, trace):
    patch = unittest.mock.patch.object(loop, "time")

    def travel():
        patch.start().return_value = time.monotonic() + FAR_SECONDS + 1
        loop.call_soon(loop.call_soon, come_back)

    def come_back():
        patch.stop()
        loop.call_later(FAR_SECONDS, trace, "never")
        loop.call_soon(loop.call_soon, loop.stop)

    loop.call_later(FAR_SECONDS, trace, "travelled")
    loop.call_soon(travel)
    loop.run_forever()


@parity
def test_when_is_what_was_given(loop, trace):
    for when in (10**9, 1e9, fractions.Fraction(10**9), True):
        handle = loop.call_at(when, trace, "now" if when is True else "never")
        trace("when", type(handle.when()), handle.when() == when)
        handle._when = 2 * 10**9
        trace("set", handle.when(), type(handle._when))
        handle.cancel()


@promise
def test_no_timer_runs_before_its_time(loop, trace):
    early = []

    def check(when):
        if loop.time() < when:
            early.append(when - loop.time())

    start = loop.time()
    for number in range(100):
        when = start + number * 0.0003
        loop.call_at(when, check, when)
    loop.call_at(start + 0.04, loop.stop)
    loop.run_forever()
    # asyncio itself allows one tick of the clock's resolution.
    assert all(seconds <= loop._clock_resolution for seconds in early)


@promise
def test_handles_tell_when(loop, trace):
    when = loop.time() + FAR_SECONDS
    assert loop.call_at(when, print).when() == when
    before = loop.time()
    assert before <= loop.call_later(0, print).when() <= loop.time()
    assert loop.call_later(5, print).when() >= before + 5


@parity
def test_a_loop_that_overrides_it_hears_of_each_cancelled_timer(loop, trace):
    class Hearing(type(loop)):
        def _timer_handle_cancelled(self, handle):
            trace("told of", handle._args, handle.cancelled())
            super()._timer_handle_cancelled(handle)

    hearing = Hearing()
    try:
        for number in range(2):
            hearing.call_later(FAR_SECONDS, trace, number).cancel()
        trace("count", hearing._timer_cancelled_count)
        hearing.call_soon(hearing.stop)
        hearing.run_forever()
        trace("swept", hearing._timer_cancelled_count, len(hearing._scheduled))
    finally:
        hearing.close()


@parity
def test_a_patch_hears_of_each_cancelled_timer(loop, trace):
    with unittest.mock.patch.object(loop, "_timer_handle_cancelled") as heard:
        handle = loop.call_later(FAR_SECONDS, trace, "never")
        handle.cancel()
        handle.cancel()
        trace("told", heard.call_args_list == [unittest.mock.call(handle)])
    trace("count", loop._timer_cancelled_count)
    loop.call_later(FAR_SECONDS, trace, "never").cancel()
    trace("count", loop._timer_cancelled_count)


@parity
def test_a_timer_cancelled_after_it_left_the_heap_is_not_counted(loop, trace):
    handles = []
    when = loop.time() + 0.001
    handles.append(loop.call_at(when, lambda: handles[1].cancel()))
    handles.append(loop.call_at(when, trace, "never"))
    run_until_stopped(loop, 0.01)
    handles[0].cancel()
    trace("count", loop._timer_cancelled_count)


@parity
def test_a_class_whose_clock_is_patched_between_runs(loop, trace):
    with unittest.mock.patch.object(type(loop), "time", lambda self: 1000.0):
        trace("when", loop.call_later(5, trace).when())


@parity
def test_delays_are_numbers_of_any_kind(loop, trace):
    start = loop.time()
    for delay in (1, True, 1.5, fractions.Fraction(1, 2), 10**20):
        handle = loop.call_later(delay, trace)
        trace(repr(delay), type(handle.when()).__name__, handle.when() >= start + delay)
        handle.cancel()
    trace.call("text", loop.call_later, "1", trace)
    trace.call("too large", loop.call_later, 10**400, trace)
