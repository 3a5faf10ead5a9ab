"""Writes in company: sent together when the iteration ends, unless somebody looks.

Whether something has been sent is asked of the peer, a plain socket, without waiting.
On asyncio each write is sent at once, so a body that compares two loops says that no
difference can be seen. What only our loops do is asked several times, since a busy
machine may stop the process for so long that nothing is held back for a while.
"""

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from functools import partial

import pytest

from .company import (
    ATTEMPT_SECONDS,
    connected,
    in_company,
    over,
    spin,
    there,
    wait_until_held,
)
from .endpoints import in_thread, pattern, read_exactly
from .framework import parity, promise

# See conftest.py.
GATHERS_WRITES = True

needs_speed = pytest.mark.needs_speed(
    "callbacks take more than 2.5 µs where all is so slow")
families = pytest.mark.parametrize("family", ("tcp", "unix"))


# ---- alone and in company ---------------------------------------------------------


@families
@parity
async def test_a_task_that_is_alone_may_wait_for_what_it_has_written(
        loop, trace, family):
    transport, peer = await connected(loop, trace, family)
    for number in range(5):
        transport.write(b"question %d" % number)
        trace("the peer has", peer.recv(100))
        await asyncio.sleep(0)
    await over((transport, peer))


@families
@promise
async def test_in_company_a_write_waits_for_the_end_of_the_iteration(
        loop, trace, family):
    transport, peer = await connected(loop, trace, family)
    await wait_until_held(loop, transport, peer)
    await over((transport, peer))


@parity
async def test_the_last_callback_of_an_iteration_is_alone(loop, trace):
    transport, peer = await connected(loop, trace)
    await in_company(loop, lambda: None)
    transport.write(b"at once")
    trace("the peer has", there(peer))
    await over((transport, peer))


@parity
def test_outside_of_a_run_each_write_is_sent_at_once(loop, trace):
    transport, peer = loop.run_until_complete(connected(loop, trace))
    loop.call_soon(lambda: None)
    for piece in (b"one", b"two", b"three"):
        transport.write(piece)
        trace("the peer has", there(peer))
    loop.run_until_complete(over((transport, peer)))


@parity
async def test_connections_are_served_in_the_order_of_their_first_writes(loop, trace):
    names = "abcde"
    connections = [await connected(loop, trace, "unix", name) for name in names]
    transports = [transport for transport, _ in connections]
    with select.epoll() as epoll:
        for _, peer in connections:
            epoll.register(peer, select.EPOLLIN | select.EPOLLET)
        order = (3, 1, 4, 1, 3, 0, 2, 4)
        for place in order:
            loop.call_soon(transports[place].write, b"<%d>" % place)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # The kernel's list of what is ready has the order of the sends.
        numbers = [fd for fd, _ in epoll.poll()]
    descriptors = [peer.fileno() for _, peer in connections]
    trace("order", [descriptors.index(fd) for fd in numbers])
    for _, peer in connections:
        trace("received", there(peer))
    await over(*connections)


@families
@parity
async def test_all_pieces_arrive_in_order(loop, trace, family):
    """Short ones, which are joined, ones that are not, and buffers that change."""
    transport, peer = await connected(loop, trace, family)
    changing = bytearray(pattern(3000))
    expected = pattern(10) + bytes(changing) + b"view" + pattern(2047) + pattern(1)

    def write():
        transport.write(pattern(10))
        transport.write(changing)
        changing[:] = bytes(3000)
        transport.write(memoryview(b"view"))

    await in_company(loop, write, lambda: transport.write(pattern(2047)),
                     lambda: transport.writelines([b"", pattern(1)]))
    trace("as written", await in_thread(loop, read_exactly, peer, len(expected))
          == expected)
    await over((transport, peer))


@parity
async def test_a_buffer_may_be_changed_when_write_has_returned(loop, trace):
    transport, peer = await connected(loop, trace)
    data = bytearray(b"first")

    def write():
        transport.write(data)
        data[:] = b"other"

    await in_company(loop, write)
    await asyncio.sleep(0)
    trace("the peer has", there(peer))
    await over((transport, peer))


@parity
async def test_much_of_one_connection_waits_for_nothing(loop, trace):
    transport, peer = await connected(loop, trace)

    def write_in_parts():
        for _ in range(7):
            transport.write(pattern(10_000))
        trace("at least", len(there(peer)) >= 65536)

    def write_at_once():
        there(peer)
        transport.write(b"a little, then ")
        transport.write(pattern(20_000))
        trace("all", len(there(peer)))

    await in_company(loop, write_in_parts, write_at_once)
    await over((transport, peer))


@parity
async def test_nothing_waits_for_many_callbacks(loop, trace):
    transport, peer = await connected(loop, trace)
    await in_company(loop, lambda: transport.write(b"early"),
                     *[lambda: spin(400e-6)] * 5,
                     lambda: trace("the peer has", there(peer)))
    await over((transport, peer))


# ---- quick callbacks --------------------------------------------------------------


async def writes_seen(loop, connections, write):
    """Each connection writes in an iteration of its own: what the first one's peer
    had before the others had run, time after time."""
    first_transport, first_peer = connections[0]
    seen = []
    for _ in range(200):
        loop.call_soon(first_transport.write, b"word")
        loop.call_soon(lambda: seen.append(there(first_peer)))
        for transport, _ in connections[1:]:
            loop.call_soon(write, transport)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _, peer in connections:
            there(peer)
    return seen


@needs_speed
@promise
async def test_nothing_waits_among_quick_callbacks(loop, trace):
    """The peer is awake anyway: waiting would save no wake-up."""
    connections = [await connected(loop, trace) for _ in range(40)]
    end = time.monotonic() + ATTEMPT_SECONDS
    while time.monotonic() < end:
        seen = await writes_seen(
            loop, connections, lambda transport: transport.write(b"word"))
        if seen.count(b"word") > len(seen) // 2:
            break
    else:
        raise AssertionError(f"{seen.count(b'word')} of {len(seen)} left at once")
    # One iteration of so many finds out whether it is still so.
    assert b"" in await writes_seen(
        loop, connections, lambda transport: transport.write(b"word"))
    await over(*connections)


@needs_speed
@promise
async def test_writes_of_longer_callbacks_wait_for_each_other(loop, trace):
    connections = [await connected(loop, trace) for _ in range(40)]

    def compute(transport):
        spin(10e-6)
        transport.write(b"word")

    end = time.monotonic() + ATTEMPT_SECONDS
    while time.monotonic() < end:
        seen = await writes_seen(loop, connections, compute)
        if seen.count(b"") > len(seen) // 2:
            break
    else:
        raise AssertionError(f"{seen.count(b'')} of {len(seen)} waited")
    await over(*connections)


# ---- flow control -----------------------------------------------------------------


@pytest.mark.parametrize("high", (None, 20_000, 0))
@parity
async def test_a_protocol_is_paused_by_the_write_that_passes_the_mark(
        loop, trace, high):
    transport, peer = await connected(loop, trace)
    protocol = transport.get_protocol()
    transport.set_write_buffer_limits(high)
    with socket.socket(fileno=os.dup(transport._sock_fd)) as full:
        with contextlib.suppress(BlockingIOError):
            while True:
                full.send(bytes(1000))

    def write():
        for number in range(12):
            transport.write(pattern(7000))
            trace("paused", number, protocol.has_happened("pause_writing"))

    await in_company(loop, write)
    trace("left", transport.get_write_buffer_size())
    await over((transport, peer))


# ---- slow callbacks ---------------------------------------------------------------


@promise
async def test_a_slow_callback_holds_nothing_back_the_second_time(loop, trace):
    transport, peer = await connected(loop, trace)
    await wait_until_held(loop, transport, peer)
    seen = []

    def compute():
        transport.write(b"progress")
        seen.append(there(peer))
        spin(0.02)

    for _ in range(3):
        await in_company(loop, compute, *[lambda: None] * 50)
        there(peer)
    assert seen[1:] == [b"progress"] * 2
    # For a while only.
    await wait_until_held(loop, transport, peer)
    await over((transport, peer))


@contextlib.contextmanager
def contended_processor():
    """This process and three that compute share one processor: the kernel gives each
    three milliseconds or so at a time."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                other = stack.enter_context(
                    subprocess.Popen([sys.executable, "-c", "while True: pass"]))
                stack.callback(other.kill)
            yield
    finally:
        os.sched_setaffinity(0, allowed)


@promise
async def test_a_callback_that_was_only_preempted_is_not_slow(loop, trace):
    """Else nothing would be held back where it pays most."""
    transport, peer = await connected(loop, trace)
    seen = []

    def write_and_compute():
        cpu = time.thread_time()
        transport.write(b"word")
        wall = time.perf_counter()
        held = there(peer) == b""
        while time.thread_time() < cpu + 100e-6:
            pass
        cpu = time.thread_time() - cpu
        seen.append((held, cpu < 1e-3 and time.perf_counter() - wall > 5e-3))

    with contended_processor():
        end = time.monotonic() + ATTEMPT_SECONDS
        preempted = False
        while time.monotonic() < end:
            await in_company(loop, write_and_compute)
            await asyncio.sleep(0)
            there(peer)
            held, preempted_now = seen.pop()
            if preempted and held:
                break
            preempted = held and preempted_now
        else:
            pytest.fail("nothing was held back after a preemption")
    await over((transport, peer))


@promise
async def test_the_first_preemption_among_four_writers_is_not_slowness_either(
        loop, trace):
    *others, last = [await connected(loop, trace, name=str(n)) for n in range(4)]
    seen = []

    def write_and_compute():
        wall = time.perf_counter()
        cpu = time.thread_time()
        last[0].write(b"word")
        held = there(last[1]) == b""
        while time.thread_time() < cpu + 100e-6:
            pass
        cpu = time.thread_time() - cpu
        seen.append((held, cpu < 1e-3 and time.perf_counter() - wall > 5e-3))

    outcomes = []
    with contended_processor():
        end = time.monotonic() + 2 * ATTEMPT_SECONDS
        preempted = False
        # The hypervisor's part counts as the thread's own: one may be taken for slow.
        while max(outcomes.count(True), outcomes.count(False)) < 2:
            assert time.monotonic() < end, "no preemption where four share a processor"
            await in_company(loop, *[partial(transport.write, b"word")
                                     for transport, _ in others], write_and_compute)
            await asyncio.sleep(0)
            for _, peer in (*others, last):
                there(peer)
            held, preempted_now = seen.pop()
            if preempted:
                outcomes.append(held)
                # After that, the next one is a first one again.
                await asyncio.sleep(2)
            preempted = held and preempted_now and not preempted
    assert outcomes.count(True) == 2
    await over(*others, last)


# ---- the option -------------------------------------------------------------------


def writes_in_company(uring_loop, trace, **options):
    """What the peer has right behind each of two writes in company."""
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        transport, peer = await connected(loop, trace)
        for _ in range(10):
            def write():
                transport.write(b"word")
                seen.append(there(peer))

            await in_company(loop, write)
            await asyncio.sleep(0)
            there(peer)
        await over((transport, peer))

    uring_loop.run(main(), **options)
    return set(seen)


@promise
def test_it_can_be_turned_off(loop, trace, monkeypatch):
    import uring_loop

    backend = loop.backend
    options = {"backend": backend, "gather_writes": False}
    assert writes_in_company(uring_loop, trace, **options) == {b"word"}
    monkeypatch.setenv("URING_LOOP_GATHER_WRITES", "0")
    assert writes_in_company(uring_loop, trace, backend=backend) == {b"word"}
    # What the program says has precedence.
    options["gather_writes"] = True
    assert b"" in writes_in_company(uring_loop, trace, **options)
    monkeypatch.setenv("URING_LOOP_GATHER_WRITES", "maybe")
    with pytest.raises(ValueError, match="URING_LOOP_GATHER_WRITES must be 0 or 1"):
        uring_loop.Loop()
    with pytest.raises(ValueError, match="gather_writes must be True or False"):
        uring_loop.Loop(gather_writes="no")
