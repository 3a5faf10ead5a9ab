"""What ends a spin, what it spares, and when there is none."""

import asyncio
import os
import signal
import socket
import sys
import threading

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops
from ..parity.endpoints import as_made_by_the_loop
from .conftest import learn_to_spin

ROUNDS = 300


def counts(loop):
    found = loop.statistics()
    return found.spins_hit, found.spins_missed


@pytest.fixture
def pair():
    ends = socket.socketpair()
    ends[0].setblocking(False)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def thread():
    """Start a thread; it has ended when the test has."""
    threads = []

    def start(function, *args):
        threads.append(threading.Thread(target=function, args=args))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


@pytest.fixture
def no_switches():
    """Other threads run only while this one lets them: when it sleeps or spins."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(interval)


# ---- when there is a spin ---------------------------------------------------------


def test_nothing_spins_unless_asked(ring_loop):
    for _ in range(5):
        ring_loop.run_until_complete(asyncio.sleep(0.0001))
    assert counts(ring_loop) == (0, 0)
    assert ring_loop.statistics().spun_ns == 0


def test_a_thread_with_one_cpu_never_spins(ring_loop, thread):
    found = []

    def run():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        ring_loop.set_poll(max_ns=10**9)
        for _ in range(5):
            ring_loop.run_until_complete(asyncio.sleep(0.0001))
        found.append(counts(ring_loop))
        ring_loop.close()

    runner = threading.Thread(target=run)
    runner.start()
    runner.join()
    assert found == [(0, 0)]


def test_a_spin_that_sees_nothing_is_followed_by_sleep(ring_loop):
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("a thread with one CPU never spins")
    learn_to_spin(ring_loop, 1_000_000)
    hit, missed = counts(ring_loop)
    ring_loop.run_until_complete(asyncio.sleep(0.05))
    assert counts(ring_loop) == (hit, missed + 1)
    # Longer than any spin may be: none next time.
    assert ring_loop.statistics().poll_ns == 0


# ---- what ends it -------------------------------------------------------------------


def test_a_message_ends_the_spin(spinner, pair, thread, no_switches):
    go = threading.Semaphore(0)

    def send():
        for _ in range(ROUNDS):
            go.acquire()
            pair[1].send(b"x")

    class Counting(asyncio.Protocol):
        left = ROUNDS

        def data_received(self, data):
            self.left -= 1
            if self.left:
                go.release()
            else:
                spinner.stop()

    transport, _ = spinner.run_until_complete(
        as_made_by_the_loop(spinner, pair[0], Counting()))
    thread(send)
    hit, missed = counts(spinner)
    spinner.call_soon(go.release)
    spinner.run_forever()
    assert counts(spinner) == (hit + ROUNDS, missed)
    transport.abort()
    spinner.run_until_complete(asyncio.sleep(0))


def test_what_was_not_submitted_is_before_the_spin(spinner, pair):
    """A watch begun in the last callback, whose entry the kernel has not seen."""
    pair[1].send(b"x")

    async def listen():
        heard = spinner.create_future()
        spinner.add_reader(pair[0], heard.set_result, None)
        await heard
        spinner.remove_reader(pair[0])

    spinner.run_until_complete(listen())


def test_a_timer_ends_the_spin_and_is_not_early(spinner):
    hit, missed = counts(spinner)

    async def sleep():
        when = spinner.time() + 0.01
        due = spinner.create_future()
        spinner.call_at(when, due.set_result, None)
        await due
        return spinner.time() - when

    assert spinner.run_until_complete(sleep()) >= 0
    assert counts(spinner) == (hit + 1, missed)


def test_a_call_from_another_thread_ends_the_spin_without_its_eventfd(
        spinner, thread):
    """The eventfd's read would be a completion; there is none."""
    asked = threading.Semaphore(0)
    rounds = 0

    def speak():
        for _ in range(ROUNDS):
            assert asked.acquire(timeout=PATIENCE_SECONDS)
            spinner.call_soon_threadsafe(answer)

    def answer():
        nonlocal rounds
        rounds += 1
        if rounds == ROUNDS:
            spinner.stop()
        asked.release()

    before = spinner.statistics()
    thread(speak)
    spinner.call_soon(asked.release)
    spinner.run_forever()
    after = spinner.statistics()
    assert rounds == ROUNDS
    assert after.completions == before.completions
    assert after.spins_missed == before.spins_missed
    assert after.spins_hit > before.spins_hit


@pytest.mark.parametrize("max_ns", [1_000, 20_000, 200_000])
def test_no_call_is_lost_between_spin_and_sleep(ring_loop, thread, max_ns):
    """Short spins, and calls that come in them, after them, and on the way."""
    ring_loop.set_poll(max_ns=max_ns, shrink=1)
    heard = threading.Semaphore(0)
    slept_through = []

    def speak():
        for number in range(3000):
            if number % 3:
                # Where in spin or sleep the next call comes differs by this.
                sum(range(number % 700))
            ring_loop.call_soon_threadsafe(heard.release)
            if not heard.acquire(timeout=PATIENCE_SECONDS):
                slept_through.append(number)
                break
        ring_loop.call_soon_threadsafe(ring_loop.stop)

    thread(speak)
    ring_loop.run_forever()
    assert slept_through == []


def test_ctrl_c_ends_the_spin_even_if_nothing_wakes_the_ring(spinner, thread):
    """Somebody else's wake-up descriptor is kept, so the ring hears of no signal."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        previous = signal.set_wakeup_fd(writer.fileno())
        try:
            spinner.call_soon(
                thread, signal.pthread_kill, threading.get_ident(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                spinner.run_forever()
        finally:
            signal.set_wakeup_fd(previous)


@pytest.mark.parametrize("act", ["stop", "call_soon"])
def test_what_a_signal_handler_does_ends_the_spin(spinner, thread, act):
    """As above: only the handler itself can tell the loop."""
    def handler(number, frame):
        if act == "stop":
            spinner.stop()
        else:
            spinner.call_soon(spinner.stop)

    reader, writer = socket.socketpair()
    previous = signal.signal(signal.SIGUSR1, handler)
    with reader, writer:
        writer.setblocking(False)
        previous_fd = signal.set_wakeup_fd(writer.fileno())
        try:
            spinner.call_soon(
                thread, signal.pthread_kill, threading.get_ident(), signal.SIGUSR1)
            spinner.run_forever()
        finally:
            signal.set_wakeup_fd(previous_fd)
            signal.signal(signal.SIGUSR1, previous)


def test_new_parameters_end_the_spin_that_goes_on(spinner, thread):
    begun = threading.Event()

    def change():
        assert begun.wait(PATIENCE_SECONDS)
        spinner.set_poll(max_ns=0)
        spinner.call_soon_threadsafe(spinner.stop)

    thread(change)
    spinner.call_soon(begun.set)
    spinner.run_forever()
    hit, missed = counts(spinner)
    for _ in range(5):
        spinner.run_until_complete(asyncio.sleep(0.0001))
    assert counts(spinner) == (hit, missed)
    assert spinner.statistics().poll_ns == 0


def test_the_gil_is_free_during_a_spin(spinner, thread):
    """Python code of another thread runs to its end while the loop does nothing."""
    def work():
        for _ in range(1000):
            sum(range(100))
        spinner.call_soon_threadsafe(spinner.stop)

    hit, missed = counts(spinner)
    spinner.call_soon(thread, work)
    spinner.run_forever()
    assert counts(spinner)[1] == missed


# ---- the numbers --------------------------------------------------------------------


def test_statistics_count_what_happened(ring_loop, pair):
    before = ring_loop.statistics()
    assert (before.iterations, before.completions, before.timers) == (0, 0, 0)
    pair[0].setblocking(False)

    class Once(asyncio.Protocol):
        def data_received(self, data):
            heard.set_result(ring_loop.statistics())

    async def receive():
        transport, _ = await as_made_by_the_loop(ring_loop, pair[0], Once())
        pair[1].send(b"x")
        found = await heard
        transport.abort()
        return found

    heard = ring_loop.create_future()
    timer = ring_loop.call_later(100, print)
    after = ring_loop.run_until_complete(receive())
    timer.cancel()
    assert after.iterations > 1 and after.enters >= 1
    assert (after.completions, after.timers, after.pool_buffers) == (1, 1, 64)
    assert after.in_flight >= 2
    assert isinstance(after, uring_loop.Statistics)


def test_statistics_go_on_when_the_loop_moves_to_another_thread(ring_loop):
    ring_loop.run_until_complete(asyncio.sleep(0.001))
    before = ring_loop.statistics()
    runner = threading.Thread(
        target=ring_loop.run_until_complete, args=(asyncio.sleep(0.001),))
    runner.start()
    runner.join()
    after = ring_loop.statistics()
    assert after.enters > before.enters > 0
    assert after.iterations > before.iterations


class Late(asyncio.Protocol):
    """Reads when it is told to."""

    def __init__(self, heard):
        self.heard = heard

    def connection_made(self, transport):
        transport.pause_reading()

    def data_received(self, data):
        self.heard.append(data)


@pytest.mark.parametrize("taskrun", ["defer", "coop"])
def test_a_full_completion_queue_is_counted(taskrun, no_leaks):
    """More receives that complete when they are submitted than the queue holds."""
    loops.skip_where_io_uring_is_refused()
    loop = uring_loop.Loop(backend="io_uring", taskrun=taskrun, sq_entries=8)
    pairs = [socket.socketpair() for _ in range(50)]
    heard = []

    async def main():
        transports = [
            (await as_made_by_the_loop(loop, ours, Late(heard)))[0]
            for ours, _ in pairs]
        for transport, (_, peer) in zip(transports, pairs):
            peer.send(b"x")
            transport.resume_reading()
        while len(heard) < len(pairs):
            await asyncio.sleep(0)
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    found = loop.statistics()
    loop.close()
    for _, peer in pairs:
        peer.close()
    assert heard == [b"x"] * len(pairs)
    assert found.full_queues >= 1
