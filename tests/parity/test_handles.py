"""Handle and TimerHandle as objects: attributes, comparison, hash, repr."""

import contextvars
import functools
import gc
import sys
import weakref

import pytest

from .framework import parity

FIELDS = ("_callback", "_args", "_cancelled", "_source_traceback", "_repr")


def plain(*args):
    """A callback with a name."""


class Owner:
    def method(self, *args):
        """A callback that is bound."""

    def __call__(self):
        """A callback that is an instance."""

    def __repr__(self):
        return "Owner()"


CALLBACKS = {
    "plain": (plain,),
    "with arguments": (plain, 1, "two", b"three", None),
    "bound": (Owner().method, 1),
    "instance": (Owner(),),
    "partial": (functools.partial(plain, 1), 2),
    "partial of partial": (functools.partial(functools.partial(plain, 1), 2, k=3),),
    "builtin": (len, []),
    "lambda": (lambda: None,),
    "class": (Owner,),
    "long argument": (plain, "x" * 500, list(range(100))),
}


def fields(handle):
    values = [getattr(handle, name, "missing") for name in FIELDS]
    values[0] = getattr(values[0], "__name__", values[0])
    return values


@parity
def test_fields_of_a_handle(loop, trace):
    handle = loop.call_soon(plain, 1, 2)
    trace("fresh", fields(handle))
    trace("type", type(handle).__name__, type(loop.call_later(1, plain)).__name__)
    trace("its loop", handle._loop is loop)
    handle.cancel()
    trace("cancelled", handle.cancelled(), fields(handle))
    handle.cancel()
    trace("cancelled twice", handle.cancelled(), fields(handle))


@parity
def test_fields_of_a_timer(loop, trace):
    handle = loop.call_later(10, plain, 1)
    trace("fresh", fields(handle), handle._when == handle.when(), handle._scheduled)
    handle.cancel()
    trace("cancelled", handle.cancelled(), fields(handle))


@parity
def test_fields_after_the_run(loop, trace):
    ran = loop.call_soon(plain, 1)
    cancelled = loop.call_soon(plain, 2)
    cancelled.cancel()
    loop.stop()
    loop.run_forever()
    trace("ran", ran.cancelled(), fields(ran))
    trace("cancelled", cancelled.cancelled(), fields(cancelled))
    ran.cancel()
    trace("cancelled late", ran.cancelled(), fields(ran))


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("debug", [False, True], ids=["quiet", "debug"])
@parity
def test_repr_names_the_callback(loop, trace, name, debug):
    loop.set_debug(debug)
    function, *args = CALLBACKS[name]
    soon = loop.call_soon(function, *args)
    later = loop.call_later(5, function, *args)
    for handle in (soon, later):
        trace("fresh", repr(handle))
        trace("info", handle._repr_info()[1:])
        handle.cancel()
        trace("cancelled", repr(handle))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="get_context came with 3.12")
@parity
def test_get_context_tells_where_it_will_run(loop, trace):
    import contextvars

    context = contextvars.copy_context()
    trace("given", loop.call_soon(plain, context=context).get_context() is context)
    trace("copied", loop.call_soon(plain).get_context() is not context)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="get_context came with 3.12")
@parity
def test_get_context_of_a_timer(loop, trace):
    context = contextvars.copy_context()
    timer = loop.call_later(1000, print, context=context)
    trace("given", timer.get_context() is context)
    trace("own", loop.call_at(1, print).get_context() is not context)


@parity
def test_timers_compare_by_time(loop, trace):
    early = loop.call_at(100.0, plain)
    late = loop.call_at(200.0, plain)
    twin = loop.call_at(100.0, plain)
    other = loop.call_at(100.0, Owner().method)
    for name, right in {"late": late, "twin": twin, "other": other}.items():
        compared = [early < right, early <= right, early > right, early >= right,
                    early == right, early != right]
        trace("early against", name, compared)
    twin.cancel()
    trace("a cancelled twin", early == twin, early <= twin, early >= twin)
    trace("equal args", loop.call_at(1.0, plain, 1) == loop.call_at(1.0, plain, 1))
    trace("other args", loop.call_at(1.0, plain, 1) == loop.call_at(1.0, plain, 2))


@parity
def test_timers_do_not_compare_with_others(loop, trace):
    timer = loop.call_at(100.0, plain)
    for name, other in {"number": 100.0, "handle": loop.call_soon(plain)}.items():
        trace.call_class(name + " <", lambda: timer < other)
        trace.call_class(name + " <=", lambda: timer <= other)
        trace.call_class(name + " >", lambda: timer > other)
        trace.call_class(name + " >=", lambda: timer >= other)
        trace.call_class(name + " ==", lambda: timer == other)


@parity
def test_timers_hash_by_time(loop, trace):
    timer = loop.call_at(100.0, plain)
    trace("hash", hash(timer) == hash(100.0))
    soon = loop.call_soon(plain)
    trace("a plain handle is itself", soon == soon, soon == loop.call_soon(plain))
    trace("in a set", len({soon, timer, loop.call_at(100.0, plain)}))


@parity
def test_a_handle_lets_go_of_what_it_held(loop, trace):
    class Held:
        def __call__(self):
            trace("called")

    run, cancelled = Held(), Held()
    watch_run, watch_cancelled = weakref.ref(run), weakref.ref(cancelled)
    handle = loop.call_soon(cancelled)
    handle.cancel()
    loop.call_soon(run)
    del run, cancelled
    gc.collect()
    trace("a cancelled handle holds nothing", watch_cancelled() is None)
    loop.stop()
    loop.run_forever()
    gc.collect()
    trace("a handle that ran is forgotten", watch_run() is None)


@parity
def test_handles_can_be_weakly_referenced(loop, trace):
    handle = loop.call_soon(plain)
    reference = weakref.ref(handle)
    trace("alive", reference() is handle)
    loop.stop()
    loop.run_forever()
    del handle
    gc.collect()
    trace("gone", reference() is None)


@parity
def test_a_handle_refuses_unknown_attributes(loop, trace):
    handle = loop.call_soon(plain)
    trace.call_class("set", setattr, handle, "colour", "red")
    trace.call_class("get", getattr, handle, "colour")


class Kept:
    def __call__(self, *args):
        """A callback that can be referenced weakly."""


@parity
def test_handles_that_are_kept_stay_what_they_were(loop, trace):
    """Many at once, so that some are made in the memory of others."""
    kept = {}
    for turn in range(3):
        for number in range(3000):
            handle = loop.call_soon(plain, turn, number)
            timer = loop.call_later(1000, plain, turn, number)
            timer.cancel()
            if number % 700 == 0:
                kept[turn, number] = handle, timer
        loop.call_soon(loop.stop)
        loop.run_forever()
    trace("kept", [
        (place, handle._args, handle.cancelled(), timer._args, timer.cancelled())
        for place, (handle, timer) in kept.items()])


@parity
def test_what_a_handle_held_ends_when_it_has_run(loop, trace):
    """Also in memory that a new handle gets: nothing comes back, nothing stays."""
    for _ in range(2):
        callbacks = [Kept() for _ in range(2000)]
        references = [weakref.ref(callback) for callback in callbacks]
        counts = sys.getrefcount(callbacks[0])
        for callback in callbacks:
            loop.call_soon(callback, callback)
            loop.call_later(1000, callback, callback).cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        trace("references", sys.getrefcount(callbacks[0]) - counts)
        del callbacks, callback
        trace("alive", sum(reference() is not None for reference in references))


@parity
def test_a_handle_in_a_cycle_is_collected(loop, trace):
    callbacks = [Kept() for _ in range(10)]
    references = [weakref.ref(callback) for callback in callbacks]
    for callback in callbacks:
        callback.handle = loop.call_soon(callback, callback)
    loop.call_soon(loop.stop)
    loop.run_forever()
    del callbacks, callback
    gc.collect()
    trace("alive", sum(reference() is not None for reference in references))
