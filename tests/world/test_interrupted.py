"""An interrupt at any callback loses no byte of any stream.

KeyboardInterrupt and SystemExit leave the loop at once, wherever they are raised. The
program may catch them and run the loop again, and everything that was sent comes, in
order, as on asyncio.
"""

import asyncio
import os
import random
import socket
import threading

import pytest

from tests.slowness import PATIENCE_SECONDS

from . import kit

SENT = random.Random(1).randbytes(300_000)
PIECE = 30_000
interrupts = pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
# Which call of the callback is interrupted: the first, or a later one.
nth_call = pytest.mark.parametrize("nth", [1, 3])


class Interrupting:
    """Raises at the nth call of one callback, once."""

    def __init__(self, callback, nth, error):
        self.callback = callback
        self.left = nth
        self.error = error
        self.data = bytearray()
        self.over = []

    def happens(self, callback):
        if callback == self.callback:
            self.left -= 1
            if self.left == 0:
                raise self.error

    @property
    def has_raised(self):
        return self.left <= 0

    def connection_made(self, transport):
        self.transport = transport
        self.happens("connection_made")

    def eof_received(self):
        self.over.append("eof")
        self.happens("eof_received")

    def connection_lost(self, exc):
        self.over.append(exc)
        self.happens("connection_lost")

    def pause_writing(self):
        self.happens("pause_writing")

    def resume_writing(self):
        self.happens("resume_writing")


class Pieces(Interrupting, asyncio.Protocol):
    def data_received(self, data):
        self.data += data
        self.happens("data_received")


class Buffered(Interrupting, asyncio.BufferedProtocol):
    """A buffer so small that one completion fills it several times."""

    def __init__(self, *args):
        super().__init__(*args)
        self.memory = bytearray(1000)

    def get_buffer(self, sizehint):
        self.happens("get_buffer")
        return self.memory

    def buffer_updated(self, nbytes):
        self.data += self.memory[:nbytes]
        self.happens("buffer_updated")


def until(loop, condition, errors):
    """Run the loop again after each interrupt, until the condition holds."""

    async def waits():
        while not condition():
            await asyncio.sleep(0.001)

    while not condition():
        try:
            loop.run_until_complete(asyncio.wait_for(waits(), PATIENCE_SECONDS))
        except errors:
            continue


def connected(loop, family, protocol):
    """Connect, also across an interrupt in connection_made; the other end."""
    near, far = kit.PAIRS[family]()
    near.setblocking(False)
    errors = KeyboardInterrupt, SystemExit
    task = loop.create_task(loop.create_connection(lambda: protocol, sock=near))
    until(loop, task.done, errors)
    return far


def closed(loop, protocol):
    protocol.transport.abort()
    until(loop, lambda: protocol.over and protocol.over[-1] != "eof",
          (KeyboardInterrupt, SystemExit))


# A protocol, its callback, and which of the calls is interrupted.
READS = [
    (Pieces, "connection_made", 1),
    (Pieces, "data_received", 1),
    (Pieces, "data_received", 2),
    (Pieces, "eof_received", 1),
    (Pieces, "connection_lost", 1),
    (Buffered, "get_buffer", 1),
    (Buffered, "get_buffer", 20),
    (Buffered, "buffer_updated", 1),
    (Buffered, "buffer_updated", 20),
]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("kind, callback, nth", READS)
@interrupts
@kit.every_pair
def test_all_that_was_sent_comes(loop, family, kind, callback, nth, error, paused):
    protocol = kind(callback, nth, error)
    far = connected(loop, family, protocol)
    if paused:
        protocol.transport.pause_reading()
    sending = loop.run_in_executor(None, send_and_end, far)
    if paused:
        loop.run_until_complete(kit.turns(10))
        protocol.transport.resume_reading()
    until(loop, lambda: None in protocol.over, error)
    loop.run_until_complete(sending)
    assert bytes(protocol.data) == SENT
    # asyncio asks eof_received() again if it was interrupted.
    assert protocol.over[0] == "eof" and protocol.over[-1] is None
    assert protocol.has_raised


def send_and_end(far):
    for start in range(0, len(SENT), PIECE):
        far.sendall(SENT[start:start + PIECE])
    far.close()


@pytest.mark.parametrize("size", [100, 20_000, 300_000])
@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated"])
@interrupts
@kit.every_pair
def test_interrupted_between_two_rounds_of_one_receive(
        loop, family, callback, error, size):
    """Everything is there at once, and the protocol takes it in small pieces."""
    protocol = Buffered(callback, 3, error)
    protocol.memory = bytearray(max(10, size // 20))
    far = connected(loop, family, protocol)
    sending = loop.run_in_executor(None, far.sendall, SENT[:size])
    until(loop, lambda: len(protocol.data) >= size, error)
    loop.run_until_complete(sending)
    assert bytes(protocol.data) == SENT[:size]
    assert protocol.has_raised
    closed(loop, protocol)
    far.close()


@pytest.mark.parametrize("callback", ["pause_writing", "resume_writing"])
@interrupts
@kit.every_pair
def test_all_that_was_written_is_sent(loop, family, callback, error):
    protocol = Pieces(callback, 1, error)
    far = connected(loop, family, protocol)
    protocol.transport.set_write_buffer_limits(high=100_000)
    sent = SENT * 20

    written = threading.Event()

    def write():
        # A peer that reads meanwhile may leave nothing to pause for.
        try:
            protocol.transport.write(sent)
        finally:
            written.set()

    def read():
        written.wait()
        return kit.read_exactly(far, len(sent))

    loop.call_soon(write)
    reading = loop.run_in_executor(None, read)
    until(loop, reading.done, error)
    assert reading.result() == sent
    assert protocol.has_raised
    closed(loop, protocol)
    far.close()


@interrupts
@pytest.mark.parametrize("whose", ["reader", "writer"])
def test_an_interrupted_watch_goes_on(loop, whose, error):
    near, far = kit.unix_pair()
    calls = []

    def called():
        calls.append(near.recv(1) if whose == "reader" else near.send(b"x"))
        if len(calls) == 2:
            raise error
        if len(calls) == 5:
            (loop.remove_reader if whose == "reader" else loop.remove_writer)(near)

    far.sendall(b"12345")
    (loop.add_reader if whose == "reader" else loop.add_writer)(near, called)
    until(loop, lambda: len(calls) == 5, error)
    if whose == "reader":
        assert calls == [b"1", b"2", b"3", b"4", b"5"]
    else:
        assert far.recv(100) == b"xxxxx"
    near.close()
    far.close()


@interrupts
@nth_call
def test_a_stream_goes_on_whoever_else_was_interrupted(loop, error, nth):
    """Many connections are ready in the same iteration; one of them interrupts."""
    protocols = [Pieces("data_received", nth if number == 4 else 0, error)
                 for number in range(10)]
    fars = [connected(loop, "tcp", protocol) for protocol in protocols]
    for start in range(0, PIECE, PIECE // 3):
        for far in fars:
            far.sendall(SENT[start:start + PIECE // 3])
        until(loop, lambda: all(
            len(protocol.data) == start + PIECE // 3 for protocol in protocols), error)
    assert {bytes(protocol.data) for protocol in protocols} == {SENT[:PIECE]}
    assert protocols[4].has_raised
    for protocol, far in zip(protocols, fars):
        closed(loop, protocol)
        far.close()


@interrupts
def test_datagrams_go_on(loop, error):
    class Datagrams(Interrupting, asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            self.data += data
            self.happens("datagram_received")

    protocol = Datagrams("datagram_received", 2, error)
    transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(
        lambda: protocol, local_addr=("127.0.0.1", 0)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(6):
            sender.sendto(b"%d" % number, transport.get_extra_info("sockname"))
    until(loop, lambda: len(protocol.data) == 6, error)
    assert bytes(protocol.data) == b"012345"
    assert protocol.has_raised
    closed(loop, protocol)


@interrupts
def test_pipes_go_on(loop, error):
    protocol = Pieces("data_received", 2, error)
    read_end, write_end = os.pipe()
    loop.run_until_complete(loop.connect_read_pipe(
        lambda: protocol, open(read_end, "rb", 0)))

    def send():
        with open(write_end, "wb", 0) as pipe:
            for start in range(0, len(SENT), PIECE):
                pipe.write(SENT[start:start + PIECE])

    sending = loop.run_in_executor(None, send)
    until(loop, lambda: None in protocol.over, error)
    loop.run_until_complete(sending)
    assert bytes(protocol.data) == SENT
    assert protocol.has_raised
