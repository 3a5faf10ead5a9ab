"""A socket that the user gave to the loop stays the user's.

A request in flight on a ring holds the file, so that the owner's close() would reach
nobody. Closing a socket under its transport is not clean, but what then happens is
asyncio's.
"""

import asyncio
import os
import socket

import pytest

from .endpoints import (
    KINDS, PEER_SECONDS, Recorder, connected_sockets, in_thread, pattern, settle)
from .framework import parity, promise

FAMILIES = ("tcp", "unix")
every_family = pytest.mark.parametrize("family", FAMILIES)
CONNECTING = ("create_connection", "create_unix_connection", "connect_accepted_socket")
BIG = 8 << 20


async def owned(loop, family, protocol, connecting="create_connection"):
    """A transport over a socket of the body's own; that socket, and the far end."""
    near, far = connected_sockets(family)
    near.setblocking(False)
    far.settimeout(PEER_SECONDS)
    if connecting == "connect_accepted_socket":
        made = loop.connect_accepted_socket(lambda: protocol, near)
    else:
        made = getattr(loop, connecting)(lambda: protocol, sock=near)
    transport, _ = await made
    return transport, near, far


async def turns():
    """Not settle(): its sockets would get the number of one that was closed."""
    for _ in range(4):
        await asyncio.sleep(0)


def after(loop, transport, what):
    if what == "write":
        transport.write(b"too late")
    else:
        getattr(transport, what)()


@pytest.mark.parametrize("connecting, family", [
    ("create_connection", "tcp"), ("create_connection", "unix"),
    ("create_unix_connection", "unix"), ("connect_accepted_socket", "tcp"),
    ("connect_accepted_socket", "unix")])
@pytest.mark.parametrize("kind", KINDS)
@parity
async def test_the_owners_close_reaches_the_peer(loop, trace, connecting, family, kind):
    protocol = kind(trace.lane("near"))
    transport, near, far = await owned(loop, family, protocol, connecting)
    transport.write(b"before")
    far.send(b"heard")
    await protocol.receives(5)
    near.close()
    trace("peer", await in_thread(loop, far.recv, 100))
    trace("then", await in_thread(loop, far.recv, 100))
    transport.abort()
    await protocol.happens("connection_lost")
    far.close()


WHAT = pytest.mark.parametrize("what", ["write", "close", "abort", "write_eof"])


@pytest.mark.parametrize("state", ["reading", "paused"])
@WHAT
@every_family
@parity
async def test_a_transport_whose_socket_its_owner_has_closed(
        loop, trace, family, what, state):
    protocol = Recorder(trace.lane("near"))
    transport, near, far = await owned(loop, family, protocol)
    if state == "paused":
        transport.pause_reading()
    await settle(loop)
    near.close()
    await turns()
    trace.call(what, after, loop, transport, what)
    await turns()
    trace("closing", transport.is_closing())
    transport.abort()
    await protocol.happens("connection_lost")
    far.close()


@WHAT
@every_family
@promise
async def test_a_socket_closed_while_its_transport_waits_for_room(
        loop, trace, family, what):
    """On asyncio abort() raises OSError here, and ends nothing."""
    protocol = Recorder(trace.lane("near"))
    transport, near, far = await owned(loop, family, protocol)
    transport.write(pattern(BIG))
    await settle(loop)
    near.close()
    await turns()
    after(loop, transport, what)
    await turns()
    transport.abort()
    await protocol.happens("connection_lost")
    far.close()


async def left_alone(loop, trace, family, size):
    """Whether the next owner of the number sees nothing of the old transport."""
    protocol = Recorder(trace.lane("near"))
    transport, near, far = await owned(loop, family, protocol)
    transport.write(pattern(size))
    await settle(loop)
    number = near.fileno()
    near.close()
    one, two = socket.socketpair()
    assert number in (one.fileno(), two.fileno())
    two.settimeout(PEER_SECONDS)
    transport.write(b"not for you")
    await turns()
    transport.abort()
    await turns()
    with one, two, far:
        one.sendall(b"mine")
        two.sendall(b"back")
        return two.recv(100) + one.recv(100) == b"mineback"


@every_family
@parity
async def test_the_next_owner_of_the_number_is_left_alone(loop, trace, family):
    trace("alone", await left_alone(loop, trace, family, 0))


@every_family
@promise
async def test_the_next_owner_is_left_alone_by_a_backlog(loop, trace, family):
    """On asyncio abort() raises OSError here, and ends nothing."""
    assert await left_alone(loop, trace, family, BIG)


@promise
async def test_nothing_that_holds_a_users_socket_is_in_flight(loop, trace):
    """Idle, and with a backlog. On epoll a request holds no file."""
    before = loop.statistics().in_flight
    protocol = Recorder(trace.lane("near"))
    transport, near, far = await owned(loop, "tcp", protocol)
    for size in (0, BIG):
        transport.write(pattern(size))
        await settle(loop)
        # Only the poll of the watch set may have come to it.
        assert (not loop.ring.holds_files
                or loop.statistics().in_flight <= before + 1)
    transport.abort()
    await protocol.happens("connection_lost")
    far.close()


@promise
async def test_a_subclass_hears_of_users_sockets_as_well(loop, trace):
    class Wrapping(type(loop)):
        async def create_connection(self, *args, **options):
            return await super().create_connection(*args, **options)

    other = Wrapping(backend=loop.backend)

    def run():
        protocol = Recorder(trace.lane("near"))
        transport, near, far = other.run_until_complete(
            owned(other, "tcp", protocol))
        near.close()
        assert far.recv(100) == b""
        transport.abort()
        other.run_until_complete(asyncio.sleep(0))
        far.close()
        other.close()

    await in_thread(loop, run)


@promise
async def test_what_the_user_sends_himself_is_behind_what_was_written(loop, trace):
    """Nothing is held back, however often the connection writes in pieces."""
    protocol = Recorder(trace.lane("near"))
    transport, near, far = await owned(loop, "unix", protocol)
    for _ in range(20):
        transport.write(b"one ")
        transport.write(b"two ")
        os.write(near.fileno(), b"three")
        await asyncio.sleep(0)
        assert far.recv(100) == b"one two three"
    transport.abort()
    await protocol.happens("connection_lost")
    far.close()
