"""A loop with nothing to do sleeps, whatever state its descriptors are in.

The kernel reports hang-ups and errors of a descriptor whether they were asked for or
not. A peer may bring about each of these states and keep it, so a loop that does not
sleep there is a loop that any client can make burn a processor. Iterations are
counted, not time.
"""

import asyncio
import contextlib
import os
import socket

import pytest

from ..parity import certificates
from . import kit
from .kit import MUCH, PAIRS, QUIET_ITERATIONS, Recorder, every_pair, reset, wired


def quiet(run, loop, state):
    """Bring the state about by the coroutine `state`, which returns what ends it."""

    async def main():
        end = await state
        count = await kit.quiet_iterations(loop)
        end()
        await kit.turns()
        return count

    count = run(main())
    assert count < QUIET_ITERATIONS, f"{count} iterations with nothing to do"


def ending(transport, *files):
    def end():
        # A write pipe of asyncio that is over cannot be aborted once more.
        with contextlib.suppress(AttributeError):
            transport.abort()
        for file in files:
            file.close()

    return end


# ---- a half-closed peer that does not read ------------------------------------------


@every_pair
def test_half_closed_peer_and_a_transport_with_a_backlog(run, loop, family):
    async def state():
        transport, protocol, far = await wired(loop, family, lambda: Recorder(True))
        far.shutdown(socket.SHUT_WR)
        await protocol.until(lambda: protocol.events == [("eof",)])
        transport.write(bytes(MUCH))
        assert transport.get_write_buffer_size() > 0
        return ending(transport, far)

    quiet(run, loop, state())


@every_pair
def test_half_closed_peer_and_a_closing_transport_with_a_backlog(run, loop, family):
    async def state():
        transport, protocol, far = await wired(loop, family)
        transport.write(bytes(MUCH))
        far.shutdown(socket.SHUT_WR)
        await protocol.until(lambda: protocol.events == [("eof",)])
        assert transport.is_closing()
        return ending(transport, far)

    quiet(run, loop, state())


@every_pair
@pytest.mark.parametrize("call", ["sock_sendall", "add_writer"])
def test_half_closed_peer_and_a_users_full_socket(run, loop, family, call):
    async def state():
        near, far = PAIRS[family]()
        near.setblocking(False)
        far.shutdown(socket.SHUT_WR)
        task = asyncio.ensure_future(loop.sock_sendall(near, bytes(MUCH)))
        await kit.turns()
        if call == "add_writer":
            # What sock_sendall() has not sent is forgotten: the socket stays full.
            await kit.gone(task)
            await filled(near)
            loop.add_writer(near, lambda: None)

        def end():
            task.cancel()
            loop.remove_writer(near)
            loop.call_soon(near.close)
            far.close()

        return end

    quiet(run, loop, state())


async def filled(sock):
    """Send until the kernel, which may move bytes on to the peer, takes no more."""
    refusals = 0
    while refusals < 8:
        try:
            sock.send(bytes(1 << 16))
            refusals = 0
        except BlockingIOError:
            refusals += 1
            await asyncio.sleep(0.02)


class Secured:
    """A TLS connection of the loop to itself; the client's socket is a plain one."""

    async def make(self, loop, server_protocol):
        near, self.far = kit.tcp_pair()
        accepting = asyncio.ensure_future(loop.connect_accepted_socket(
            lambda: server_protocol, near, ssl=certificates.server_context()))
        await kit.blocking(self.shake_hands)
        self.transport, _ = await accepting
        return self.transport

    def shake_hands(self):
        context = certificates.client_context()
        self.tls = context.wrap_socket(self.far, server_hostname=certificates.NAME)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("closing", [False, True])
def test_half_closed_peer_and_a_tls_transport_with_a_backlog(
        run, loop, paused, closing):
    async def state():
        secured = Secured()
        transport = await secured.make(loop, Recorder())
        transport.write(bytes(MUCH))
        if paused:
            transport.pause_reading()
        if closing:
            transport.close()
        socket.socket.shutdown(secured.tls, socket.SHUT_WR)
        return ending(transport, secured.tls)

    quiet(run, loop, state())


# ---- a peer that has gone -----------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
@every_pair
def test_reset_with_a_backlog(run, loop, family, paused):
    async def state():
        transport, protocol, far = await wired(loop, family)
        transport.write(bytes(MUCH))
        if paused:
            transport.pause_reading()
        reset(far)
        return ending(transport)

    quiet(run, loop, state())


@every_pair
@pytest.mark.parametrize("how", ["end", "data and end", "reset", "data and reset"])
def test_paused_reading_with_an_end_behind(run, loop, family, how):
    async def state():
        transport, protocol, far = await wired(loop, family)
        transport.pause_reading()
        if "data" in how:
            far.sendall(bytes(100_000))
        (reset if "reset" in how else socket.socket.close)(far)
        return ending(transport)

    quiet(run, loop, state())


@every_pair
def test_paused_in_data_received_with_an_end_behind(run, loop, family):
    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def state():
        transport, protocol, far = await wired(loop, family, Pausing)
        far.sendall(b"first")
        far.close()
        await protocol.got(5)
        return ending(transport)

    quiet(run, loop, state())


@every_pair
def test_a_peer_that_has_gone_while_nobody_reads_or_writes(run, loop, family):
    """The protocol keeps the connection open after the end, and writes nothing."""

    async def state():
        transport, protocol, far = await wired(loop, family, lambda: Recorder(True))
        far.close()
        await protocol.until(lambda: protocol.events == [("eof",)])
        return ending(transport)

    quiet(run, loop, state())


def test_a_watch_that_was_taken_away_from_a_hung_up_socket(run, loop):
    async def state():
        near, far = kit.unix_pair()
        seen = asyncio.Event()
        loop.add_reader(near, seen.set)
        far.close()
        await seen.wait()
        loop.remove_reader(near)
        return near.close

    quiet(run, loop, state())


# ---- pipes --------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"unread"])
def test_read_pipe_that_is_paused_and_whose_writer_has_gone(run, loop, data):
    async def state():
        ours, theirs = os.pipe()
        transport, _ = await loop.connect_read_pipe(Recorder, open(ours, "rb", 0))
        transport.pause_reading()
        os.write(theirs, data)
        os.close(theirs)
        return transport.close

    quiet(run, loop, state())


@pytest.mark.parametrize("backlog", [0, MUCH])
@pytest.mark.parametrize("reader", ["stays", "goes"])
def test_write_pipe(run, loop, backlog, reader):
    async def state():
        theirs, ours = os.pipe()
        kept = open(theirs, "rb", 0)
        transport, _ = await loop.connect_write_pipe(Recorder, open(ours, "wb", 0))
        if backlog:
            transport.write(bytes(backlog))
        if reader == "goes":
            kept.close()
        return ending(transport, kept)

    quiet(run, loop, state())


# ---- datagrams ----------------------------------------------------------------------


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.errors = []

    def error_received(self, exc):
        self.errors.append(exc)

    def connection_lost(self, exc):
        self.errors.append(exc)


def test_udp_socket_with_an_error_pending(run, loop):
    async def state():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            address = silent.getsockname()
        transport, protocol = await loop.create_datagram_endpoint(
            Datagrams, remote_addr=address)
        for _ in range(3):
            transport.sendto(b"nobody is there")
        return transport.abort

    quiet(run, loop, state())


@pytest.mark.parametrize("reader", ["stays", "goes"])
def test_datagram_socket_with_a_backlog(run, loop, reader):
    async def state():
        far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        far.bind("")    # an abstract address of the kernel's choice
        transport, _ = await loop.create_datagram_endpoint(
            Datagrams, remote_addr=far.getsockname().decode(), family=socket.AF_UNIX)
        while transport.get_write_buffer_size() == 0:
            transport.sendto(bytes(10_000))
        if reader == "goes":
            far.close()
        return ending(transport, far)

    quiet(run, loop, state())


def test_users_datagram_socket_with_an_error_pending(run, loop):
    """sock_recvfrom() has been given up; the error comes when nobody waits."""

    async def state():
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.setblocking(False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            near.connect(silent.getsockname())
        waiting = asyncio.ensure_future(loop.sock_recvfrom(near, 10))
        await kit.turns()
        await kit.gone(waiting)
        near.send(b"nobody is there")
        return near.close

    quiet(run, loop, state())
