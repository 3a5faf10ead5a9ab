"""Datagram sockets that others have too: what was not delivered stays for them."""

import asyncio
import socket

import pytest
import uring_loop

from .framework import parity, promise

COUNT = 10


class Receiver(asyncio.DatagramProtocol):
    def __init__(self, trace, then=None):
        self.trace = trace
        self.then = then
        self.count = 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.count += 1
        self.trace("datagram", data)
        if self.then is not None:
            self.then(self)

    def error_received(self, exc):
        self.trace("error", type(exc))

    def connection_lost(self, exc):
        self.trace("lost", exc)


def bound(kind=socket.SOCK_DGRAM):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def connected_unix():
    """(ours, theirs): the kernel makes ours wait for what theirs has not read."""
    theirs, ours = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    # An abstract name that the kernel chooses.
    theirs.bind("")
    ours.connect(theirs.getsockname())
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def read_all(sock):
    found = []
    while True:
        try:
            found.append(sock.recv(100))
        except BlockingIOError:
            return found


def send_all(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(COUNT):
            sender.sendto(b"%d" % number, address)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


@parity
def test_what_comes_before_a_close_stays_for_other_owners(loop, trace):
    async def main():
        given = bound()
        with given.dup() as other:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Receiver(trace), sock=given)
            await turns()
            send_all(other.getsockname())
            transport.close()
            await turns()
            trace("left", *read_all(other))

    loop.run_until_complete(main())


@promise
def test_a_close_in_a_callback_leaves_the_rest(loop, trace):
    """At most what one report of readiness may deliver is taken."""
    async def main():
        given = bound()
        with given.dup() as other:
            _, protocol = await loop.create_datagram_endpoint(
                lambda: Receiver(trace, lambda self: self.transport.close()),
                sock=given)
            await turns()
            send_all(other.getsockname())
            while not protocol.count:
                await asyncio.sleep(0)
            await turns()
            trace("left", *read_all(other))

    loop.run_until_complete(main())


@parity
def test_the_loop_that_does_not_run_takes_nothing(loop, trace):
    """A duplicate in another process, or another loop, may be served meanwhile."""
    async def make():
        return await loop.create_datagram_endpoint(
            lambda: Receiver(trace), sock=given)

    given = bound()
    with given.dup() as other:
        transport, protocol = loop.run_until_complete(make())
        loop.run_until_complete(turns())
        send_all(other.getsockname())
        trace("left", *read_all(other))
        loop.run_until_complete(turns())
        transport.close()
        loop.run_until_complete(turns())


@pytest.mark.parametrize("given", [True, False])
def test_a_paused_endpoint_takes_nothing_and_sleeps(given):
    received = []
    loop = uring_loop.Loop(backend="io_uring")

    async def main():
        options = ({"sock": bound()} if given
                   else {"local_addr": ("127.0.0.1", 0)})
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Receiver(lambda *event: received.append(event)), **options)
        await turns()
        transport.pause_reading()
        await turns()
        send_all(transport.get_extra_info("sockname"))
        before = loop.statistics().iterations
        await asyncio.sleep(0.05)
        assert loop.statistics().iterations - before < COUNT
        assert received == []
        transport.resume_reading()
        while protocol.count < COUNT:
            await asyncio.sleep(0)
        transport.close()
        await turns()

    loop.run_until_complete(main())
    loop.close()
    assert [event[1] for event in received[:-1]] == [b"%d" % n for n in range(COUNT)]


def test_nothing_of_ours_is_in_flight_on_a_given_socket():
    loop = uring_loop.Loop(backend="io_uring")

    async def main():
        before = set(map(id, loop.ring.in_flight()))
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, sock=bound())
        await turns()
        new = [op for op in loop.ring.in_flight() if id(op) not in before]
        assert [type(op).__name__ for op in new if "WatchSet" not in repr(op)] == []
        transport.close()
        await turns()

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("given", [True, False])
@parity
def test_an_interrupt_loses_no_later_datagram(loop, trace, given):
    def interrupt(protocol):
        if protocol.count == 2:
            raise KeyboardInterrupt

    async def make():
        options = ({"sock": bound()} if given
                   else {"local_addr": ("127.0.0.1", 0)})
        return await loop.create_datagram_endpoint(
            lambda: Receiver(trace, interrupt), **options)

    async def all_received():
        while protocol.count < COUNT:
            await asyncio.sleep(0)

    transport, protocol = loop.run_until_complete(make())
    loop.run_until_complete(turns())
    send_all(transport.get_extra_info("sockname"))
    task = loop.create_task(all_received())
    try:
        loop.run_until_complete(task)
    except KeyboardInterrupt:
        trace("interrupted")
    loop.run_until_complete(task)
    transport.close()
    loop.run_until_complete(turns())


@parity
def test_errors_of_the_network_are_heard(loop, trace):
    async def main():
        given = bound()
        with bound() as nobody:
            given.connect(nobody.getsockname())
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Receiver(trace), sock=given)
        transport.sendto(b"refused")
        await asyncio.sleep(0.02)
        transport.close()
        await turns()

    loop.run_until_complete(main())


@parity
def test_what_the_socket_does_not_take_is_sent_later_in_order(loop, trace):
    """Before the end, too: close() waits for it."""
    async def main():
        ours, theirs = connected_unix()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Receiver(trace), sock=ours)
        message = bytes(1000)
        for number in range(1000):
            transport.sendto(b"%4d" % number + message)
        trace("waiting", transport.get_write_buffer_size() > 0)
        transport.close()
        found = []
        while len(found) < 1000:
            found += [int(data[:4]) for data in read_all_large(theirs)]
            await asyncio.sleep(0)
        trace("in order", found == list(range(1000)))
        await turns()
        theirs.close()

    loop.run_until_complete(main())


def read_all_large(sock):
    found = []
    while True:
        try:
            found.append(sock.recv(2000))
        except BlockingIOError:
            return found


@parity
def test_abort_with_something_unsent(loop, trace):
    async def main():
        ours, theirs = connected_unix()
        with theirs:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Receiver(trace), sock=ours)
            for _ in range(1000):
                transport.sendto(bytes(1000))
            trace("waiting", transport.get_write_buffer_size() > 0)
            transport.abort()
            await turns()
            trace("closed", ours.fileno())

    loop.run_until_complete(main())
