"""Signal handlers of the loop: delivery, replacement, refusals, wake-up."""

import asyncio
import os
import signal
import threading

from .endpoints import settle
from .framework import parity

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


def send(number):
    os.kill(os.getpid(), number)


@parity
async def test_a_handler_runs_in_the_loop(loop, trace):
    seen = loop.create_future()

    def handler(*args):
        trace("handler", args, asyncio.get_running_loop() is loop)
        seen.set_result(None)

    loop.add_signal_handler(USR1, handler, "argument")
    send(USR1)
    trace("not at once")
    await seen
    trace("removed", loop.remove_signal_handler(USR1))
    trace("again", loop.remove_signal_handler(USR1))
    trace("default is back", signal.getsignal(USR1) == signal.SIG_DFL)


@parity
def test_a_signal_wakes_an_idle_loop(loop, trace):
    def handler():
        trace("handler")
        loop.stop()

    loop.add_signal_handler(USR1, handler)
    thread = threading.Thread(target=send, args=(USR1,))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    loop.remove_signal_handler(USR1)


@parity
async def test_two_signals_keep_apart(loop, trace):
    loop.add_signal_handler(USR1, trace.lane("usr1"), "handler")
    loop.add_signal_handler(USR2, trace.lane("usr2"), "handler")
    send(USR1)
    send(USR2)
    await settle(loop)
    trace("settled")
    loop.remove_signal_handler(USR1)
    loop.remove_signal_handler(USR2)


@parity
async def test_a_handler_is_replaced(loop, trace):
    loop.add_signal_handler(USR1, trace, "old")
    loop.add_signal_handler(USR1, trace, "new")
    send(USR1)
    await settle(loop)
    loop.remove_signal_handler(USR1)


@parity
async def test_a_handler_that_raises(loop, trace):
    def handler():
        raise ValueError("broken")

    loop.add_signal_handler(USR1, handler)
    send(USR1)
    await settle(loop)
    trace("goes on")
    loop.remove_signal_handler(USR1)


@parity
async def test_refusals(loop, trace):
    for number in (signal.SIGKILL, signal.SIGSTOP, 0, -1, 1000, "x", None):
        trace.call("add", loop.add_signal_handler, number, print)
        trace.call("remove", loop.remove_signal_handler, number)
    trace.call_class("no callback", loop.add_signal_handler, USR1)


@parity
async def test_only_the_main_thread_may(loop, trace):
    def other():
        trace.call("add", loop.add_signal_handler, USR1, print)

    await loop.run_in_executor(None, other)


@parity
def test_close_gives_the_handlers_back(loop, trace):
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(USR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.close()
    trace("usr1", signal.getsignal(USR1) == signal.SIG_DFL)
    trace("int", signal.getsignal(signal.SIGINT) == signal.default_int_handler)
    signal.signal(signal.SIGINT, before)
    trace("wake-up descriptor", signal.set_wakeup_fd(-1))


@parity
def test_signals_between_runs_are_kept(loop, trace):
    loop.add_signal_handler(USR1, trace, "handler")
    send(USR1)
    loop.run_until_complete(settle(loop))
    send(USR1)
    trace("stands still")
    loop.run_until_complete(settle(loop))
    loop.remove_signal_handler(USR1)


@parity
def test_a_python_handler_interrupts_an_idle_loop(loop, trace):
    """No loop handler at all: signal.signal alone must work as well."""

    def handler(number, frame):
        trace("python handler", number)
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(USR1, handler)
    thread = threading.Thread(target=send, args=(USR1,))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    signal.signal(USR1, before)


@parity
def test_keyboard_interrupt_ends_an_idle_loop(loop, trace):
    thread = threading.Thread(target=send, args=(signal.SIGINT,))
    loop.call_soon(thread.start)
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        trace("interrupted", loop.is_running())
    thread.join()
    loop.call_soon(trace, "usable")
    loop.stop()
    loop.run_forever()


@parity
def test_keyboard_interrupt_ends_a_busy_loop(loop, trace):
    def spin():
        loop.call_soon(spin)

    thread = threading.Thread(target=send, args=(signal.SIGINT,))
    loop.call_soon(thread.start)
    loop.call_soon(spin)
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        trace("interrupted")
    thread.join()
