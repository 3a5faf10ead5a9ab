"""The loop inside Qt, tkinter and another asyncio loop: the real ones."""

import asyncio
import os
import signal
import subprocess
import threading
import time

import pytest

import uring_loop
from uring_loop.guest.hosts import AsyncioHost, QtHost, TkHost

from tests.slowness import PATIENCE_SECONDS

from .test_glib import program
from .toolkits import need, need_program


class Inside:
    """What a test needs of a main loop: run it, a timer of its own, a nested run."""

    def __init__(self, host, run, later, nested):
        self.host = host
        self.run = run
        self.later = later
        self.nested = nested


@pytest.fixture(scope="module")
def display():
    """The number of an X server without a screen."""
    server = subprocess.Popen(
        [need_program("Xvfb"), "-displayfd", "1", "-screen", "0", "640x480x24",
         "-nolisten", "tcp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield ":" + server.stdout.readline().decode().strip()
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


@pytest.fixture(scope="module")
def root(display):
    tkinter = need("tkinter", "python3-tk")
    root = tkinter.Tk(screenName=display)
    # It opens the descriptors that it keeps with its first sleep.
    root.after(1, root.quit)
    root.mainloop()
    yield root
    root.destroy()


@pytest.fixture(scope="module")
def qt():
    core = pytest.importorskip(
        "PySide6.QtCore", reason="PySide6 is not installed; examples/run_all.py has it")
    application = core.QCoreApplication.instance() or core.QCoreApplication([])
    core.QTimer.singleShot(1, application.quit)
    application.exec()
    yield core, application


@pytest.fixture(scope="module", params=["tkinter", "asyncio", "qt"])
def toolkit(request):
    """Before each test's loop, since it holds descriptors and stays."""
    kind = request.param
    needed = {"tkinter": "root", "qt": "qt"}.get(kind)
    return kind, request.getfixturevalue(needed) if needed else None


@pytest.fixture
def inside(request, toolkit, loop):
    kind, value = toolkit
    return globals()[f"inside_{kind}"](request, loop, value)


def inside_tkinter(request, loop, root):
    def nested():
        root.after(5, root.quit)
        root.mainloop()

    return Inside(TkHost(loop, root), root.mainloop,
                  lambda call: root.after(1, call), nested)


def inside_asyncio(request, loop, nothing):
    host = asyncio.SelectorEventLoop()
    request.addfinalizer(host.close)
    return Inside(AsyncioHost(loop, host), host.run_forever,
                  lambda call: host.call_later(0.001, call), None)


def inside_qt(request, loop, qt):
    core, application = qt

    def nested():
        inner = core.QEventLoop()
        core.QTimer.singleShot(5, inner.quit)
        inner.exec()

    return Inside(QtHost(loop, core), application.exec,
                  lambda call: core.QTimer.singleShot(1, call), nested)


def test_asyncio_works_inside(loop, inside):
    """Network, timers and threads, while the host's own timer goes on."""
    ticks = []

    def tick():
        ticks.append(1)
        if not task.done():
            inside.later(tick)

    task = loop.create_task(program())
    task.add_done_callback(lambda task: loop.stop())
    with inside.host:
        inside.later(tick)
        inside.run()
    assert task.result() == 7
    assert ticks
    assert not loop.is_running()


def test_what_the_host_schedules_wakes_it(loop, inside):
    """Its own callback sets a result: nothing else would end the sleep."""
    future = loop.create_future()

    async def wait():
        assert await future == "set by the host"
        loop.stop()

    task = loop.create_task(wait())
    with inside.host:
        inside.later(lambda: future.set_result("set by the host"))
        inside.run()
    task.result()


def test_a_callback_may_run_the_main_loop(loop, inside):
    if inside.nested is None:
        pytest.skip("asyncio's own main loop does not recurse")
    trace = []

    def nested():
        loop.call_soon(trace.append, "scheduled inside")
        loop.call_soon_threadsafe(trace.append, "by a thread")
        loop.call_later(0.001, loop.stop)
        inside.nested()
        trace.append("out")

    loop.call_soon(nested)
    with inside.host:
        inside.run()
    assert trace == ["out", "scheduled inside", "by a thread"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interruptions_end_the_main_loop_and_are_raised_behind_it(loop, inside, kind):
    def interrupt():
        raise kind

    loop.call_soon(interrupt)
    with pytest.raises(kind):
        with inside.host:
            inside.run()
    assert not loop.is_running()


def test_ctrl_c_ends_the_main_loop(loop, inside):
    turning = threading.Event()

    def interrupt():
        assert turning.wait(PATIENCE_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    def wait():
        # In a callback of the loop: tkinter prints what interrupts one of its own.
        turning.set()
        # Another thread, such as Tcl's, may get the signal: no long sleep ends by it.
        for _ in range(2000):
            time.sleep(0.01)

    loop.call_soon(loop.call_soon, wait)
    with pytest.raises(KeyboardInterrupt):
        with inside.host:
            inside.run()
    thread.join()


def test_a_loop_that_cannot_run_is_refused_at_the_door(loop):
    host = asyncio.SelectorEventLoop()
    closed = uring_loop.Loop()
    closed.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        with AsyncioHost(closed, host):
            pass
    host.close()


def test_inside_a_coroutine_of_another_loop(loop):
    """Two loops take turns in one thread."""
    async def outer():
        with AsyncioHost(loop, asyncio.get_running_loop(), quit=done.set):
            task = loop.create_task(program())
            task.add_done_callback(lambda task: loop.stop())
            await done.wait()
            return task.result()

    done = asyncio.Event()
    assert asyncio.run(outer()) == 7
