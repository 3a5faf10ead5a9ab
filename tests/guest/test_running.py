"""What runs in a guest's turn, in which order, for how long, and who is told of it."""

import asyncio
import contextlib
import signal
import socket
import threading

import pytest

import uring_loop

from .conftest import PollHost


async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


# ---- a guest is a running loop ----------------------------------------------------


def test_asyncio_works_inside(loop, host):
    """Server, client, sleep, executor, subprocess: one program for all of it."""
    async def program():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        for number in range(100):
            writer.write(b"%d" % number)
            assert await reader.read(100) == b"%d" % number
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.001)
        process = await asyncio.create_subprocess_exec("true")
        return await process.wait(), await asyncio.to_thread(int, "7")

    task = loop.create_task(program())
    task.add_done_callback(lambda task: loop.stop())
    host.run()
    assert task.result() == (0, 7)


def test_the_running_loop_is_known_in_callbacks_and_only_there(loop, host):
    seen = []

    async def look():
        seen.append((asyncio.get_running_loop() is loop,
                     asyncio.current_task() is task, loop.is_running()))

    task = loop.create_task(look())
    host.settle()
    assert seen == [(True, True, True)]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    assert loop.is_running()


def test_the_host_may_run_another_asyncio_loop_between_turns(loop, host):
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
    ran = []
    loop.call_soon(ran.append, 1)
    host.settle()
    assert ran == [1]


def test_asynchronous_generators_are_the_loops(loop, host):
    closed = []

    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.get_running_loop())

    async def abandon():
        async for _ in numbers():
            break

    task = loop.create_task(abandon())
    host.run_until(lambda: task.done() and closed)
    assert closed == [loop]


def test_signal_handlers_of_the_loop_run(loop, host):
    heard = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, 1)
    host.settle()
    threading.Timer(0, signal.raise_signal, (signal.SIGUSR1,)).start()
    host.run_until(lambda: heard)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert heard == [1]


def test_a_guest_never_spins(loop, host):
    loop.set_poll(max_ns=10**9, grow=10**6)
    ran = []
    for number in range(5):
        loop.call_later(0.001, ran.append, number)
        host.run_until(lambda: len(ran) > number)
    assert loop.statistics().spins_hit == loop.statistics().spins_missed == 0


# ---- beginning and end ------------------------------------------------------------


def test_outside_of_running_there_is_nothing_to_ask(guest):
    for question in (guest.fileno, guest.prepare, guest.check, guest.dispatch):
        with pytest.raises(RuntimeError, match="the guest is not running"):
            question()


def test_a_running_or_closed_loop_cannot_be_a_guest(loop, guest, host):
    with pytest.raises(RuntimeError, match="already running"):
        with loop.guest().running():
            pass
    with pytest.raises(RuntimeError, match="already running"):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.close()
    closed = uring_loop.Loop()
    closed.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        with closed.guest().running():
            pass


@pytest.mark.parametrize("bad", [-1, 3601, float("nan")])
def test_a_budget_has_to_be_a_time(loop, bad):
    with pytest.raises(ValueError, match="budget must be from 0 to 3600 seconds"):
        loop.guest(budget=bad)


def test_stop_is_told_once_and_the_loop_rests(loop, guest):
    stops, ran = [], []
    with guest.running(on_stop=lambda: stops.append(1)):
        loop.call_soon(loop.stop)
        loop.call_soon(ran.append, "in the same iteration")
        guest.dispatch()
        loop.call_soon(ran.append, "never in this run")
        assert guest.prepare() is None
        assert not guest.check()
        guest.dispatch()
    assert stops == [1]
    assert ran == ["in the same iteration"]
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(0))
    assert ran == ["in the same iteration", "never in this run"]


def test_runs_of_guest_and_loop_alternate(loop, guest):
    """With a connection open all the time."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)

    async def connect():
        return await asyncio.open_connection(sock=ours)

    reader, writer = loop.run_until_complete(connect())
    for number in range(3):
        with guest.running():
            host = PollHost(guest)
            task = loop.create_task(reader.read(10))
            peer.send(b"guest")
            host.run_until(task.done)
            assert task.result() == b"guest"
        peer.send(b"loop")
        assert loop.run_until_complete(reader.read(10)) == b"loop"
    writer.close()
    loop.run_until_complete(writer.wait_closed())
    peer.close()


def test_a_host_may_go_on_in_another_thread(loop, host):
    """As a GLib context may be iterated by another owner."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    received = []

    def listen():
        received.append(ours.recv(10))

    loop.add_reader(ours, listen)
    host.settle()

    def turn():
        peer.send(b"x")
        host.run_until(lambda: len(received) > count)

    for count in range(4):
        thread = threading.Thread(target=turn)
        thread.start()
        thread.join()
    count = 4
    turn()
    assert received == [b"x"] * 5
    loop.remove_reader(ours)
    host.settle()
    ours.close()
    peer.close()


# ---- how much in one turn ---------------------------------------------------------


def script(loop, trace):
    """Ready callbacks, timers that are due, completions, and what they add."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    now = loop.time()

    def readable():
        ours.recv(10)
        trace.append("readable")
        loop.call_soon(trace.append, "after readable")

    def late():
        trace.append("late")
        loop.remove_reader(ours)
        ours.close()
        peer.close()
        loop.stop()

    loop.add_reader(ours, readable)
    loop.call_soon(peer.send, b"x")
    for number in range(3):
        loop.call_soon(trace.append, number)
        loop.call_soon(loop.call_soon, trace.append, f"{number} again")
        loop.call_at(now - 1 + number / 10, trace.append, f"due {number}")
        loop.call_at(now - 1, loop.call_soon, trace.append, f"due {number} again")
    loop.call_later(0.01, late)


@pytest.mark.parametrize("budget", [0, 0.005])
def test_the_order_is_that_of_a_loop_of_its_own(options, loop, budget, no_leaks):
    """A budget of 0 stops behind each callback: the next turn goes on there."""
    expected, actual = [], []
    own = uring_loop.Loop(**options)
    script(own, expected)
    own.run_forever()
    own.close()
    guest = loop.guest(budget=budget)
    host = PollHost(guest)
    with guest.running(on_stop=host.end):
        script(loop, actual)
        host.run()
    assert len(expected) == 15
    assert actual == expected


def test_a_turn_ends_when_its_time_is_over(loop):
    guest = loop.guest(budget=0)
    ran = []
    with guest.running():
        for number in range(100):
            loop.call_soon(ran.append, number)
        for number in range(100):
            assert ran == list(range(number))
            assert guest.prepare() == 0
            assert guest.check()
            guest.dispatch()
    assert ran == list(range(100))


def test_callbacks_that_never_end_starve_neither_io_nor_timers(loop):
    guest = loop.guest(budget=0)
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    seen = []

    def again():
        loop.call_soon(again)

    with guest.running():
        for _ in range(20):
            loop.call_soon(again)
        loop.add_reader(ours, seen.append, "io")
        loop.call_later(0, seen.append, "timer")
        peer.send(b"x")
        while len(set(seen)) < 2:
            assert guest.prepare() == 0
            guest.dispatch()
        loop.remove_reader(ours)
    ours.close()
    peer.close()
    loop._ready.clear()


def test_a_flood_of_callbacks_leaves_time_for_the_host(loop):
    """Not for ever in one dispatch(), though there is always more."""
    guest = loop.guest()
    ran = 0

    def again():
        nonlocal ran
        ran += 1
        loop.call_soon(again)

    with guest.running():
        loop.call_soon(again)
        for _ in range(3):
            before = ran
            assert guest.prepare() == 0
            guest.dispatch()
            assert ran > before
    loop._ready.clear()


# ---- exceptions -------------------------------------------------------------------


def test_an_exception_in_a_callback_goes_to_the_handler(loop, host):
    contexts, ran = [], []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(ran.append, 1)
    host.settle()
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    assert ran == [1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interruptions_leave_dispatch_which_then_goes_on_behind(loop, host, kind):
    ran = []

    def interrupt():
        raise kind

    loop.call_soon(ran.append, 1)
    loop.call_soon(interrupt)
    loop.call_soon(ran.append, 2)
    loop.call_at(loop.time() - 1, ran.append, 3)
    with pytest.raises(kind):
        host.guest.dispatch()
    assert ran == [1]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    loop.call_soon(ran.append, 4)
    host.settle()
    assert ran == [1, 2, 3, 4]


def test_what_an_interruption_left_runs_in_a_run_of_the_loop_itself(loop, guest):
    ran = []

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with guest.running():
            loop.call_soon(interrupt)
            loop.call_soon(ran.append, 1)
            loop.call_at(loop.time() - 1, ran.append, 2)
            guest.dispatch()
    loop.call_soon(ran.append, 3)
    loop.run_until_complete(asyncio.sleep(0))
    assert ran == [1, 2, 3]


# ---- main loops within callbacks --------------------------------------------------


def test_a_callback_may_run_the_hosts_main_loop(loop, host):
    """Nothing of the loop runs in there, nor does it keep the host awake, and all is
    served afterwards."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    trace = []

    def readable():
        trace.append(ours.recv(10))

    def nested():
        trace.append("in")
        loop.call_soon(trace.append, "scheduled inside")
        loop.call_soon_threadsafe(trace.append, "by another thread")
        peer.send(b"sent")
        for _ in range(3):
            assert host.guest.prepare() is None
            host.sleep(0)
            assert not host.guest.check()
            host.guest.dispatch()
        if loop.ring is not None:
            assert not host.sleep(0)
        trace.append("out")

    loop.add_reader(ours, readable)
    host.settle()
    loop.call_soon(nested)
    host.run_until(lambda: len(trace) == 5)
    assert trace[:2] == ["in", "out"]
    assert set(trace[2:]) == {"scheduled inside", "by another thread", b"sent"}
    loop.remove_reader(ours)
    host.settle()
    ours.close()
    peer.close()


@pytest.mark.parametrize("inside", ["task", "callback", "between turns"])
def test_paused_lets_another_asyncio_loop_run(loop, host, inside):
    answers = []

    async def other():
        await asyncio.sleep(0.001)
        host.guest.dispatch()
        return asyncio.get_running_loop() is not loop

    def run_other():
        with host.guest.paused():
            loop.call_soon(answers.append, "after")
            answers.append(asyncio.run(other()))

    async def in_task():
        task = asyncio.current_task()
        run_other()
        assert asyncio.current_task() is task
        assert asyncio.get_running_loop() is loop

    if inside == "task":
        task = loop.create_task(in_task())
    elif inside == "callback":
        loop.call_soon(run_other)
    else:
        host.settle()
        run_other()
        assert host.sleep(20)
    host.run_until(lambda: len(answers) == 2)
    assert answers == [True, "after"]
    if inside == "task":
        task.result()


def test_leaving_by_an_exception_gives_everything_back(loop, guest, no_leaks):
    with contextlib.suppress(ZeroDivisionError):
        with guest.running():
            guest.dispatch()
            1 / 0
    assert not guest.is_attached
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(0))
