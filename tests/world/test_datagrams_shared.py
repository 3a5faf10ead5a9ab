"""A datagram socket with two owners: what one did not deliver is the other's."""

import asyncio
import gc
import os
import socket
import warnings

import pytest

from . import kit

SENT = [b"datagram %d" % number for number in range(6)]


class Deliveries(asyncio.DatagramProtocol):
    """Lists what came; calls `act` with the transport for each."""

    def __init__(self, act=lambda transport: None):
        self.act = act
        self.came = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.came.append(data)
        self.act(self.transport)


class Shared:
    """One UDP socket, given to an endpoint of the loop and kept as a duplicate."""

    def __init__(self):
        self.ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ours.bind(("127.0.0.1", 0))
        self.ours.setblocking(False)
        self.other = self.ours.dup()
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(self.ours.getsockname())

    async def endpoint(self, loop, act=lambda transport: None):
        _, protocol = await loop.create_datagram_endpoint(
            lambda: Deliveries(act), sock=self.ours)
        await kit.turns()
        return protocol

    def send(self):
        for data in SENT:
            self.sender.send(data)

    def left(self):
        """What the other owner finds; closes all that is not the loop's."""
        self.other.setblocking(False)
        left = []
        try:
            while True:
                left.append(self.other.recv(100))
        except BlockingIOError:
            return left
        finally:
            self.other.close()
            self.sender.close()


@pytest.fixture
def shared():
    return Shared()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_closed_by_the_first_datagram(run, loop, shared, end):
    async def main():
        protocol = await shared.endpoint(
            loop, lambda transport: getattr(transport, end)())
        shared.send()
        while not protocol.came:
            await asyncio.sleep(0)
        await kit.turns(5)
        return protocol

    protocol = run(main())
    assert protocol.came == SENT[:1]
    assert shared.left() == SENT[1:]


@pytest.mark.parametrize("end", ["close", "abort"])
def test_closed_in_the_callback_in_which_they_come(run, loop, shared, end):
    async def main():
        protocol = await shared.endpoint(loop)

        def send_and_end():
            shared.send()
            getattr(protocol.transport, end)()

        loop.call_soon(send_and_end)
        await kit.turns(5)
        return protocol

    protocol = run(main())
    assert protocol.came == []
    assert shared.left() == SENT


def test_closed_one_callback_after_they_have_come(run, loop, shared):
    """The loop may have looked in between; what it took it must have delivered."""

    async def main():
        protocol = await shared.endpoint(loop)
        loop.call_soon(shared.send)
        loop.call_soon(loop.call_soon, protocol.transport.close)
        await kit.turns(5)
        return protocol

    protocol = run(main())
    assert protocol.came + shared.left() == SENT


def test_what_comes_between_two_runs_is_for_whoever_asks_first(run, loop, shared):
    protocol = run(shared.endpoint(loop))
    shared.send()
    assert [shared.other.recv(100) for _ in range(3)] == SENT[:3]

    async def delivered():
        while len(protocol.came) < 3:
            await asyncio.sleep(0)
        protocol.transport.close()
        await kit.turns()

    run(delivered())
    assert protocol.came == SENT[3:]
    assert shared.left() == []


def test_loop_closed_with_datagrams_waiting(run, loop, shared):
    protocol = run(shared.endpoint(loop))
    shared.send()
    loop.close()
    assert protocol.came + shared.left() == SENT
    shared.ours.close()
    with warnings.catch_warnings():
        # The transport of a loop that was closed cannot be closed any more.
        warnings.simplefilter("ignore", ResourceWarning)
        del protocol
        gc.collect()


def test_interrupted_by_the_first_and_then_closed(run, loop, shared):
    def interrupt(transport):
        raise KeyboardInterrupt

    protocol = run(shared.endpoint(loop, interrupt))
    shared.send()
    with pytest.raises(KeyboardInterrupt):
        run(asyncio.sleep(5))
    protocol.transport.close()
    protocol.act = lambda transport: None
    run(kit.turns())
    assert protocol.came + shared.left() == SENT


# The loop of a test has the threads of pytest beside it; the child uses neither.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gets_what_the_parent_has_not_delivered(run, loop, shared):
    protocol = run(shared.endpoint(loop, lambda transport: transport.close()))
    go, told = os.pipe()
    result, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(go, 1)
            os.write(say, b"|".join(shared.left()))
        finally:
            os._exit(0)
    shared.send()

    async def closed():
        while not protocol.came:
            await asyncio.sleep(0)
        await kit.turns()

    run(closed())
    os.write(told, b"x")
    assert os.read(result, 1000).split(b"|") == SENT[1:]
    assert os.waitpid(child, 0)[1] == 0
    for number in (go, told, result, say):
        os.close(number)
    assert shared.left() == []
