"""The loop as a source of a real GLib main context."""

import asyncio
import os
import signal
import socket
import threading

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

from ..parity.framework import finish
from .toolkits import need


@pytest.fixture(scope="module")
def GLib():
    need("gi", "python3-gi")
    found = need("gi.repository.GLib", "python3-gi")
    # It has a descriptor of its own, and stays.
    found.MainContext.default().iteration(False)
    return found


@pytest.fixture
def glib(GLib):
    import uring_loop.glib

    return uring_loop.glib


@pytest.fixture(scope="module")
def context(GLib):
    """Not the default one. As long as it lives it has a descriptor of its own."""
    return GLib.MainContext.new()


@pytest.fixture
def source(glib, loop, context):
    source = glib.attach(loop, context)
    yield source
    source.destroy()


def iterate(context, condition):
    while not condition():
        context.iteration(True)


async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def program():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(200):
        writer.write(b"%d" % number)
        assert await reader.read(100) == b"%d" % number
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.001)
    return await asyncio.to_thread(int, "7")


def add_source(GLib, context, kind, callback, priority=None):
    """A source of GLib's own in this context."""
    source = kind()
    if priority is not None:
        source.set_priority(priority)
    source.set_callback(callback)
    source.attach(context)
    return source


# ---- running ------------------------------------------------------------------------


def test_a_runner_runs_asyncio_programs_in_glib(glib, options, no_leaks):
    with glib.GLibRunner(**options) as runner:
        assert runner.run(program()) == 7
        assert runner.run(program()) == 7


def test_sources_of_glib_run_beside_the_loop(GLib, glib, options, context, no_leaks):
    ticks = []

    # Older releases of PyGObject pass None, newer ones nothing.
    def tick(*data):
        ticks.append(asyncio.events._get_running_loop())
        return len(ticks) < 3

    timeout = add_source(GLib, context, lambda: GLib.timeout_source_new(1), tick)

    async def wait():
        while len(ticks) < 3:
            await asyncio.sleep(0.001)

    with glib.GLibRunner(context, **options) as runner:
        runner.run(wait())
    timeout.destroy()
    assert ticks == [None] * 3


def test_an_attached_loop_runs_in_whatever_iterates_the_context(
        loop, source, context):
    task = loop.create_task(program())
    iterate(context, task.done)
    assert task.result() == 7


def test_timers_are_due_while_glib_sleeps(loop, source, context):
    fired = []
    when = loop.time() + 0.005
    loop.call_at(when, lambda: fired.append(loop.time()))
    iterate(context, lambda: fired)
    assert fired[0] >= when


def test_another_thread_may_iterate_the_context(loop, source, context):
    """The ring moves to who owns the context."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    heard = []
    loop.add_reader(ours, lambda: heard.append((ours.recv(10), threading.get_ident())))
    iterators = []

    def iterate_elsewhere(count):
        assert context.acquire()
        iterators.append(threading.get_ident())
        peer.send(b"x")
        iterate(context, lambda: len(heard) == count)
        context.release()

    for count in (1, 2):
        thread = threading.Thread(target=iterate_elsewhere, args=(count,))
        thread.start()
        thread.join()
    iterate_elsewhere(3)
    assert heard == [(b"x", ident) for ident in iterators]
    loop.remove_reader(ours)
    ours.close()
    peer.close()


# ---- priorities, recursion, removal -------------------------------------------------


@pytest.mark.parametrize("first", ["loop", "idle"])
def test_priorities_decide_who_is_served_first(GLib, glib, loop, context, first):
    trace = []
    priority = GLib.PRIORITY_HIGH if first == "loop" else GLib.PRIORITY_LOW
    source = glib.attach(loop, context, priority=priority)
    idle = add_source(GLib, context, GLib.idle_source_new,
                      lambda *data: trace.append("idle"), GLib.PRIORITY_DEFAULT)
    loop.call_soon(trace.append, "loop")
    iterate(context, lambda: len(trace) == 2)
    source.destroy()
    idle.destroy()
    assert trace[0] == first


def test_a_callback_may_run_a_main_loop(GLib, loop, source, context):
    """GLib's other sources go on, the loop rests, and then all is served."""
    trace = []

    def nested():
        main = GLib.MainLoop(context)
        trace.append("in")
        loop.call_soon(trace.append, "scheduled inside")
        loop.call_soon_threadsafe(int)
        timeout = add_source(GLib, context, lambda: GLib.timeout_source_new(5),
                             lambda *data: main.quit())
        main.run()
        timeout.destroy()
        trace.append("out")

    loop.call_soon(nested)
    iterate(context, lambda: len(trace) == 3)
    assert trace == ["in", "out", "scheduled inside"]


def test_a_destroyed_source_lets_the_loop_go(GLib, glib, loop, context):
    source = glib.attach(loop, context)
    ran = []
    loop.call_soon(ran.append, 1)
    source.destroy()
    assert source.is_destroyed()
    assert not loop.is_running()
    context.iteration(False)
    assert ran == []
    loop.run_until_complete(asyncio.sleep(0))
    assert ran == [1]
    again = glib.attach(loop, context)
    loop.call_soon(ran.append, 2)
    iterate(context, lambda: ran == [1, 2])
    again.destroy()


def test_a_closed_or_running_loop_cannot_be_attached(glib, loop, context, source):
    with pytest.raises(RuntimeError, match="already running"):
        glib.attach(loop, context)
    closed = uring_loop.Loop()
    closed.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        glib.attach(closed, context)


# ---- exceptions ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interruptions_end_glibs_main_loop(glib, options, context, kind, no_leaks):
    loop = glib.GLibLoop(context, **options)

    def interrupt():
        raise kind

    loop.call_soon(interrupt)
    with pytest.raises(kind):
        loop.run_forever()
    assert not loop.is_running()
    finish(loop)


def test_an_exception_in_a_callback_goes_to_the_handler(loop, source, context):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.call_soon(lambda: 1 / 0)
    iterate(context, lambda: contexts)
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("runner", [True, False])
def test_ctrl_c_reaches_a_main_loop_that_sleeps(glib, options, runner, no_leaks):
    """In GLib's own poll, in C, without a timeout."""
    asleep = threading.Event()

    def interrupt():
        assert asleep.wait(PATIENCE_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    async def sleep_for_ever():
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, asleep.set)
        await loop.create_future()

    thread = threading.Thread(target=interrupt)
    thread.start()
    if runner:
        with pytest.raises(KeyboardInterrupt), glib.GLibRunner(**options) as made:
            made.run(sleep_for_ever())
    else:
        loop = glib.GLibLoop(**options)
        loop.call_soon(asleep.set)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        finish(loop)
    thread.join()
