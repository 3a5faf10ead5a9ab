"""What wakes the host: completions, timers, and whatever its own code schedules."""

import asyncio
import contextlib
import mmap
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading

import pytest

from tests.slowness import PATIENCE_SECONDS

CONNECTIONS = 50
ROUNDS = 200
# So many looks at memory, then the processor is given to who has to write there.
LOOKS = 20_000
BIG = 4_000_000


@pytest.fixture
def pairs():
    found = [socket.socketpair() for _ in range(CONNECTIONS)]
    for ours, _ in found:
        ours.setblocking(False)
    yield found
    for ends in found:
        for end in ends:
            end.close()


class Counter(asyncio.Protocol):
    received = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += len(data)


def connect(host, loop, sock):
    """(transport, protocol) of a socket, made by the guest."""
    task = loop.create_task(loop.create_connection(Counter, sock=sock))
    host.run_until(task.done)
    host.settle()
    return task.result()


# ---- between poll and check ---------------------------------------------------------


# A process of its own: who waits for it makes no system call.
SENDER = """
import mmap, os, struct, sys
rounds, memory_fd, *fds = map(int, sys.argv[1:])
memory = mmap.mmap(memory_fd, 16)
done = 0
while done != rounds:
    if struct.unpack_from("q", memory, 0)[0] == done:
        os.sched_yield()
        continue
    for fd in fds:
        os.write(fd, b"x")
    done += 1
    struct.pack_into("q", memory, 8, done)
"""


class Sender:
    """Sends a byte on each socket when a counter in memory moves on.

    Who waits for it makes no system call, which would let completions in, unless the
    machine is so busy that it has to.
    """

    def __init__(self, socks):
        memory_fd = os.memfd_create("sender")
        os.truncate(memory_fd, 16)
        self.memory = mmap.mmap(memory_fd, 16)
        fds = [memory_fd, *(sock.fileno() for sock in socks)]
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", SENDER, str(ROUNDS), *map(str, fds)],
            pass_fds=fds)
        os.close(memory_fd)

    def send(self, number):
        struct.pack_into("q", self.memory, 0, number)
        looks = 0
        while struct.unpack_from("q", self.memory, 8)[0] != number:
            looks += 1
            if looks % LOOKS == 0:
                os.sched_yield()

    def close(self):
        struct.pack_into("q", self.memory, 0, ROUNDS)
        assert self.process.wait() == 0
        self.memory.close()


def test_nothing_is_missed_that_comes_between_poll_and_check(loop, host, pairs):
    """10,000 messages; a look at the completion queue alone would miss most."""
    ends = [connect(host, loop, ours) for ours, _ in pairs]
    sender = Sender([peer for _, peer in pairs])
    seen_in_queue = missed = 0
    try:
        for number in range(1, ROUNDS + 1):
            host.guest.prepare()
            assert not host.sleep(0)
            sender.send(number)
            if loop.ring is not None:
                seen_in_queue += loop.ring.completions_count > 0
            missed += not host.guest.check()
            while host.guest.check():
                host.guest.dispatch()
            assert [end.received for _, end in ends] == [number] * CONNECTIONS
    finally:
        sender.close()
        for transport, _ in ends:
            transport.abort()
        host.settle()
    assert missed == 0
    if "DEFER_TASKRUN" in loop.ring_flags:
        assert seen_in_queue == 0


def test_a_completion_ends_the_sleep_of_the_host(loop, host, pairs):
    transport, protocol = connect(host, loop, pairs[0][0])
    for number in range(1, 301):
        seconds = host.guest.prepare()
        assert seconds is None
        thread = threading.Thread(target=pairs[0][1].send, args=(b"x",))
        thread.start()
        assert host.sleep(seconds)
        thread.join()
        assert host.guest.check()
        host.guest.dispatch()
        assert protocol.received == number
    transport.abort()
    host.settle()


# ---- timers -------------------------------------------------------------------------


def test_a_timer_is_the_timeout_of_the_host_and_due_after_it(loop, host):
    fired = []
    when = loop.time() + 0.02
    host.settle()
    loop.call_at(when, lambda: fired.append(loop.time()))
    assert host.settle() <= 0.02
    host.run_until(lambda: fired)
    assert fired[0] >= when


def test_a_cancelled_timer_wakes_nobody(loop, host):
    loop.call_later(0.01, print).cancel()
    assert host.settle() is None


def test_without_timers_the_host_sleeps_without_limit(loop, host):
    assert host.settle() is None
    assert not host.sleep(0)
    assert not host.guest.check()


# ---- what the host's own code does between two turns --------------------------------


def action_call_soon(loop, done, pairs):
    loop.call_soon(done)


def action_call_later(loop, done, pairs):
    loop.call_later(0.001, done)


def action_create_task(loop, done, pairs):
    async def work():
        done()

    done.task = loop.create_task(work())


def action_set_result(loop, done, pairs):
    done.future.set_result(None)


def action_threadsafe_here(loop, done, pairs):
    loop.call_soon_threadsafe(done)


def action_threadsafe_elsewhere(loop, done, pairs):
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done,))
    thread.start()
    thread.join()


def action_add_reader(loop, done, pairs):
    pairs[1][1].send(b"x")

    def readable():
        loop.remove_reader(pairs[1][0])
        done()

    loop.add_reader(pairs[1][0], readable)


def action_write_more_than_fits(loop, done, pairs):
    done.transport.write(bytes(BIG))
    pairs[0][1].setblocking(True)

    def read_all():
        left = BIG
        while left:
            left -= len(pairs[0][1].recv(1 << 20))
        loop.call_soon_threadsafe(done)

    done.thread = threading.Thread(target=read_all)
    done.thread.start()


def action_close_transport(loop, done, pairs):
    done.protocol.connection_lost = done
    done.transport.close()


def action_executor(loop, done, pairs):
    loop.run_in_executor(None, int).add_done_callback(done)


ACTIONS = [value for name, value in globals().items() if name.startswith("action_")]


class Done:
    called = False
    thread = None

    def __call__(self, *ignored):
        self.called = True


@pytest.mark.parametrize("action", ACTIONS, ids=lambda act: act.__name__)
def test_the_host_wakes_for_what_its_own_code_schedules(loop, host, pairs, action):
    """The host sleeps at once, without another prepare(): as Qt and tkinter do."""
    done = Done()
    done.transport, done.protocol = connect(host, loop, pairs[0][0])
    done.future = loop.create_future()
    done.future.add_done_callback(done)
    host.settle()
    action(loop, done, pairs)
    while not done.called:
        assert host.sleep(20), "the host slept through it"
        host.guest.dispatch()
        seconds = host.guest.prepare()
        if seconds is not None:
            host.sleep(seconds)
            host.guest.dispatch()
            host.guest.prepare()
    if done.thread:
        done.thread.join()
    done.transport.abort()
    # Satisfied, and silent again.
    host.settle()
    assert not host.sleep(0)


def test_stop_by_the_hosts_own_code_wakes_it(loop, host):
    host.settle()
    loop.stop()
    assert host.sleep(20)
    assert host.guest.check()
    host.guest.dispatch()
    assert host.ended


def test_scheduling_much_writes_to_the_eventfd_once(loop, host):
    host.settle()
    before = eventfd_counts()
    for _ in range(100):
        loop.call_soon(int)
    assert eventfd_counts() == before + 1


def eventfd_counts():
    """What has been written to the eventfds of this process and not been read yet."""
    total = 0
    for name in os.listdir("/proc/self/fdinfo"):
        with contextlib.suppress(FileNotFoundError):
            text = pathlib.Path("/proc/self/fdinfo", name).read_text()
            total += sum(map(lambda n: int(n, 16),
                             re.findall(r"eventfd-count: *([0-9a-f]+)", text)))
    return total


def test_no_threadsafe_call_is_slept_through(loop, host):
    heard = threading.Semaphore(0)
    slept_through = []

    def speak():
        for number in range(2000):
            loop.call_soon_threadsafe(heard.release)
            if not heard.acquire(timeout=PATIENCE_SECONDS):
                slept_through.append(number)
                break
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=speak)
    thread.start()
    host.run()
    thread.join()
    assert slept_through == []


