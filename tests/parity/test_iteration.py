"""The order of one iteration: what was ready, then I/O, then timers that are due."""

import asyncio
import socket

from .endpoints import Recorder, wired
from .framework import parity


@parity
def test_ready_then_readers_then_timers(loop, trace):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def readable():
        trace("readable", ours.recv(10))
        loop.call_soon(trace, "scheduled by I/O")

    def prepare():
        theirs.send(b"x")
        loop.call_at(loop.time() - 1, trace, "timer")
        loop.call_soon(trace, "ready")
        loop.call_soon(loop.call_soon, loop.stop)

    loop.add_reader(ours, readable)
    loop.call_soon(prepare)
    loop.run_forever()
    loop.remove_reader(ours)
    ours.close()
    theirs.close()


@parity
async def test_ready_then_received_data_then_timers(loop, trace):
    protocol = Recorder(trace)
    transport, peer = await wired(loop, "unix", protocol)
    done = loop.create_future()

    def prepare():
        peer.send(b"x")
        loop.call_at(loop.time() - 1, trace, "timer")
        loop.call_soon(trace, "ready")
        loop.call_soon(loop.call_soon, loop.call_soon, done.set_result, None)

    with peer:
        loop.call_soon(prepare)
        await done
        transport.close()
        await protocol.happens("connection_lost")


@parity
def test_a_stopped_iteration_still_does_its_io(loop, trace):
    ours, theirs = socket.socketpair()
    theirs.send(b"x")
    loop.add_reader(ours, lambda: trace("readable", ours.recv(10)))
    loop.call_soon(trace, "ready")
    loop.stop()
    loop.run_forever()
    trace("stopped")
    loop.remove_reader(ours)
    ours.close()
    theirs.close()


@parity
def test_io_is_not_starved_by_callbacks_that_never_end(loop, trace):
    ours, theirs = socket.socketpair()

    def spin():
        loop.call_soon(spin)

    def readable():
        trace("readable", ours.recv(10))
        loop.stop()

    loop.add_reader(ours, readable)
    loop.call_soon(spin)
    loop.call_soon(theirs.send, b"x")
    loop.run_forever()
    loop.remove_reader(ours)
    ours.close()
    theirs.close()


@parity
def test_timers_are_not_starved_by_callbacks_that_never_end(loop, trace):
    def spin():
        loop.call_soon(spin)

    def due():
        trace("timer")
        loop.stop()

    loop.call_later(0.002, due)
    loop.call_soon(spin)
    loop.run_forever()


@parity
async def test_tasks_and_callbacks_take_turns(loop, trace):
    async def worker(name):
        for step in range(3):
            trace("task", name, step)
            await asyncio.sleep(0)

    tasks = [asyncio.ensure_future(worker(name)) for name in "ab"]
    for number in range(3):
        loop.call_soon(trace, "callback", number)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    trace("done")
