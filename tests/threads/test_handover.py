"""What a loop's old ring had completed, when another thread runs the loop.

The old ring's completions are handed out after the move. Whatever their callbacks do,
the loop, its connections and its receive pools stay whole.
"""

import asyncio
import errno
import gc
import os
import resource
import socket
import threading

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

from ..parity.endpoints import as_made_by_the_loop

COUNT = 5


@pytest.fixture
def loop(ring_options):
    loop = uring_loop.Loop(**ring_options)
    yield loop
    loop.close()


@pytest.fixture(params=["stream", "datagram"])
def kind(request):
    return {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}[request.param]


@pytest.fixture
def connected(loop, kind):
    """connected(): a protocol that reads on the loop; its `peer` is the other end."""
    protocols = []

    def make(**options):
        protocols.append(connect(loop, kind, Receiver(**options)))
        return protocols[-1]

    yield make
    for protocol in protocols:
        protocol.transport.abort()
        protocol.peer.close()
    if not loop.is_closed():
        run(loop)
    protocols.clear()


class Receiver(asyncio.Protocol, asyncio.DatagramProtocol):
    """Keeps what it hears; `then()` runs with each message."""

    def __init__(self, then=None, paused=False):
        self.heard = []
        self.then = then
        self.paused = paused
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport
        if self.paused and hasattr(transport, "pause_reading"):
            transport.pause_reading()

    def data_received(self, data):
        self.heard.append(data)
        if self.then is not None:
            self.then()

    def datagram_received(self, data, address):
        self.data_received(data)

    def connection_lost(self, exc):
        self.lost.append(exc)


def connect(loop, kind, protocol):
    loop.run_until_complete(make_connection(loop, kind, protocol))
    return protocol


async def make_connection(loop, kind, protocol):
    """By a socket that the loop has made, if it is one for datagrams: others are
    watched, and no completion brings their datagrams."""
    if kind == socket.SOCK_STREAM:
        ours, protocol.peer = socket.socketpair()
        await as_made_by_the_loop(loop, ours, protocol)
    else:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: protocol, ("127.0.0.1", 0))
        protocol.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        protocol.peer.connect(transport.get_extra_info("sockname"))


def run(loop):
    """No task, which an interrupt would leave behind."""
    for _ in range(3):
        loop.stop()
        loop.run_forever()


def leave_unread(loop, *actions):
    """Do what the ring hears of while nobody reaps: it is posted when this returns."""
    def act():
        for action in actions:
            action()

    # A ring without DEFER_TASKRUN posts at once, another in the last enter of a run.
    if "DEFER_TASKRUN" in loop.ring_flags:
        loop.call_soon(act)
    loop.call_soon(loop.stop)
    loop.run_forever()
    if "DEFER_TASKRUN" not in loop.ring_flags:
        act()
    assert loop.ring.completions_count >= len(actions)


def in_thread(function, *args):
    """Its result from a thread that has ended; raises what it raises."""
    outcome = []

    def work():
        try:
            outcome.append((function(*args), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    result, exc = outcome[0]
    if exc is not None:
        raise exc
    return result


def hear(loop, receiver, message):
    """Let the peer send it, and run the loop until it has arrived."""
    async def main():
        receiver.peer.send(message)
        while message not in receiver.heard:
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("debug", [False, True])
def test_what_the_old_ring_received_is_heard_before_anything_newer(
        loop, connected, debug):
    receiver = connected()
    loop.set_debug(debug)
    leave_unread(loop, lambda: receiver.peer.send(b"early"))
    in_thread(hear, loop, receiver, b"late")
    assert receiver.heard == [b"early", b"late"]
    hear(loop, receiver, b"back")
    assert receiver.heard == [b"early", b"late", b"back"]


def test_a_completion_of_the_old_ring_makes_the_first_pool(loop, kind):
    """As a file's task does that connects, or resumes reading."""
    read_end, write_end = os.pipe()
    receivers = []

    async def read(file):
        await file.read(2)
        receiver = Receiver()
        await make_connection(loop, kind, receiver)
        receivers.append(receiver)

    async def begin():
        file = await uring_loop.open(read_end, "rb", buffering=0)
        task = loop.create_task(read(file))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return file, task

    file, task = loop.run_until_complete(begin())
    leave_unread(loop, lambda: os.write(write_end, b"go"))

    def other():
        loop.run_until_complete(task)
        hear(loop, receivers[0], b"first")

    in_thread(other)
    hear(loop, receivers[0], b"second")
    receivers[0].transport.abort()
    receivers[0].peer.close()
    loop.run_until_complete(file.close())
    run(loop)
    os.close(write_end)


def test_the_first_pool_by_resuming_a_stream(loop):
    receiver = connect(loop, socket.SOCK_STREAM, Receiver(paused=True))
    datagrams = connect(loop, socket.SOCK_DGRAM,
                        Receiver(then=receiver_resumer(receiver)))
    leave_unread(loop, lambda: datagrams.peer.send(b"resume"))
    in_thread(hear, loop, receiver, b"first")
    hear(loop, receiver, b"second")
    assert receiver.heard == [b"first", b"second"]
    for protocol in (receiver, datagrams):
        protocol.transport.abort()
        protocol.peer.close()
    run(loop)


def receiver_resumer(receiver):
    return lambda: receiver.transport.resume_reading()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_handover_loses_no_message(loop, connected, error):
    """Every connection's message is posted; the second one's callback interrupts."""
    def interrupt():
        if not interrupted:
            interrupted.append(1)
            raise error

    interrupted = []
    receivers = [connected(then=interrupt if n == 1 else None) for n in range(COUNT)]
    sends = [lambda r=r, n=n: r.peer.send(b"%d" % n) for n, r in enumerate(receivers)]
    leave_unread(loop, *sends)
    with pytest.raises(error):
        in_thread(run, loop)

    def other():
        run(loop)
        assert [r.heard for r in receivers] == [[b"%d" % n] for n in range(COUNT)]
        for receiver in receivers:
            hear(loop, receiver, b"more")

    # The rest moves once more, to this thread.
    other()
    assert [r.lost for r in receivers] == [[]] * COUNT


def test_a_loop_closes_with_an_interrupted_handover(loop, kind):
    """Every operation hears its end, at once: none waits for the kernel."""
    def interrupt():
        raise KeyboardInterrupt

    receivers = [connect(loop, kind, Receiver(then=interrupt)) for _ in range(COUNT)]
    leave_unread(loop, *[lambda r=r: r.peer.send(b"x") for r in receivers])
    with pytest.raises(KeyboardInterrupt):
        in_thread(run, loop)
    enters = loop.ring.enter_count
    loop.close()
    assert loop.ring.in_flight_count == 0
    assert loop.ring.enter_count - enters < COUNT
    assert [len(r.heard) for r in receivers] == [1] + [0] * (COUNT - 1)
    for receiver in receivers:
        receiver.peer.close()
    # Nobody has closed the transports.
    with pytest.warns(ResourceWarning, match="unclosed"):
        del receiver
        receivers.clear()
        gc.collect()


def test_a_callback_of_the_handover_ends_other_connections(loop, connected):
    """Closed before and after their own completions are handed out."""
    def end_all():
        for receiver in receivers:
            receiver.transport.abort()

    receivers = [connected(then=end_all if n == 2 else None) for n in range(COUNT)]
    for receiver in receivers:
        receiver.peer.settimeout(PATIENCE_SECONDS)
    leave_unread(loop, *[lambda r=r: r.peer.send(b"x") for r in receivers])
    in_thread(run, loop)
    assert [len(r.heard) for r in receivers] == [1, 1, 1, 0, 0]
    assert [r.lost for r in receivers] == [[None]] * COUNT
    assert [r.transport.get_extra_info("socket").fileno() for r in receivers] == (
        [-1] * COUNT)


def test_a_callback_of_the_handover_pauses_a_stream(loop):
    """What had been received by then waits for resume_reading(), in order."""
    def pause():
        second.transport.pause_reading()

    first = connect(loop, socket.SOCK_STREAM, Receiver(then=pause))
    second = connect(loop, socket.SOCK_STREAM, Receiver())
    leave_unread(loop, lambda: first.peer.send(b"x"), lambda: second.peer.send(b"1"))
    in_thread(run, loop)
    assert second.heard == []
    second.peer.send(b"2")
    run(loop)
    assert second.heard == []
    first.then = None
    second.transport.resume_reading()
    hear(loop, first, b"y")
    run(loop)
    assert b"".join(second.heard) == b"12"
    for protocol in (first, second):
        protocol.transport.abort()
        protocol.peer.close()
    run(loop)


def test_an_error_in_the_handover_goes_to_the_exception_handler(loop, connected):
    def fail():
        raise ZeroDivisionError

    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    receivers = [connected(then=fail if n == 0 else None) for n in range(2)]
    leave_unread(loop, *[lambda r=r: r.peer.send(b"x") for r in receivers])
    in_thread(run, loop)
    assert [type(r["exception"]) for r in reports] == [ZeroDivisionError]
    assert receivers[1].heard == [b"x"]


def test_without_a_descriptor_for_the_new_ring_the_loop_stays_on_the_old_one(
        loop, connected):
    def run_without_descriptors():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            run(loop)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    receiver = connected()
    leave_unread(loop, lambda: receiver.peer.send(b"kept"))
    with pytest.raises(OSError) as caught:
        in_thread(run_without_descriptors)
    assert caught.value.errno == errno.EMFILE
    in_thread(hear, loop, receiver, b"later")
    assert receiver.heard == [b"kept", b"later"]
