"""Waits for sockets that are closed, replaced or duplicated between or during waits.

A wait leaves its registration in the epoll set for the next one. Each test here fails
if such a registration is trusted too long, or if one that cannot be removed is reported
for ever.
"""

import asyncio
import contextlib
import os
import socket

import pytest

from .endpoints import pattern, settle
from .framework import parity, promise
from .test_sock import pair

# More than a loop that sleeps makes in a tenth of a second, less than one that spins.
FEW_ITERATIONS = 50


async def waited(loop, near, far):
    """A wait that has left its registration."""
    reading = asyncio.ensure_future(loop.sock_recv(near, 100))
    await settle(loop)
    far.send(b"first")
    assert await reading == b"first"


async def sleeps(loop):
    """Does the loop sleep while nothing happens?"""
    await settle(loop)
    before = loop.statistics().iterations
    await asyncio.sleep(0.1)
    return loop.statistics().iterations - before < FEW_ITERATIONS


@contextlib.contextmanager
def closed_with_a_duplicate(near):
    """The socket is closed, its file lives on, and its number is free."""
    with near.dup() as duplicate:
        near.close()
        yield duplicate


@parity
async def test_a_socket_closed_while_a_task_waits_is_closed_for_its_peer(loop, trace):
    with pair() as (near, far):
        far.setblocking(False)
        for kept in (False, True):
            if kept:
                await waited(loop, near, far)
            reading = asyncio.ensure_future(loop.sock_recv(near, 100))
            await settle(loop)
            trace.call("before", far.recv, 10)
            if not kept:
                reading.cancel()
                await asyncio.wait([reading])
        near.close()
        trace.call("peer sees", far.recv, 10)
        await settle(loop)
        trace("goes on waiting", not reading.done())
        reading.cancel()
        await asyncio.wait([reading])
        trace("cancelled", reading.cancelled())


@parity
async def test_a_port_is_free_when_a_socket_that_waits_is_closed(loop, trace):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = listener.getsockname()
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    await settle(loop)
    listener.close()
    with socket.socket() as client:
        trace("connect", client.connect_ex(address))
    with socket.socket() as again:
        trace.call("bind", again.bind, address)
    accepting.cancel()
    await asyncio.wait([accepting])


@pytest.mark.parametrize("busy", [False, True])
@parity
async def test_a_number_that_gets_another_file_between_two_reads(loop, trace, busy):
    """Under the same socket object: only epoll could tell."""
    def again():
        if not reading.done():
            loop.call_soon(again)

    with pair() as (near, far), pair() as (other, other_far):
        await waited(loop, near, far)
        os.dup2(other.fileno(), near.fileno())
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        if busy:
            again()
        await settle(loop)
        other_far.send(b"to the new file")
        await trace.wait("read", reading)


@parity
async def test_a_number_that_gets_another_file_between_two_sends(loop, trace):
    with pair() as (near, far), pair() as (other, other_far):
        sending = asyncio.ensure_future(loop.sock_sendall(near, pattern(1 << 20)))
        await settle(loop)
        sending.cancel()
        await asyncio.wait([sending])
        os.dup2(other.fileno(), near.fileno())
        sending = asyncio.ensure_future(loop.sock_sendall(near, pattern(1 << 20)))
        received = 0
        other_far.setblocking(False)
        while received < 1 << 20:
            received += len(await loop.sock_recv(other_far, 1 << 20))
        await trace.wait("sent", sending)
        trace("received", received)


@parity
async def test_sockets_that_follow_one_another_under_one_number(loop, trace):
    number = None
    for _ in range(20):
        with pair() as (near, far):
            number = number or near.fileno()
            trace("same number", near.fileno() == number)
            await waited(loop, near, far)


@parity
async def test_the_next_socket_of_a_number_is_heard_at_once(loop, trace):
    """Another socket object: its registration is not the old one's."""
    for _ in range(3):
        with pair() as (near, far):
            await waited(loop, near, far)
        with pair() as (near, far):
            reading = asyncio.ensure_future(loop.sock_recv(near, 100))
            await asyncio.sleep(0)
            far.send(b"x")
            await settle(loop)
            trace("heard", reading.done())
            reading.cancel()
            await asyncio.wait([reading])


@parity
async def test_a_callback_after_a_wait_and_a_wait_after_a_callback(loop, trace):
    with pair() as (near, far):
        for _ in range(3):
            await waited(loop, near, far)
            told = loop.create_future()
            loop.add_reader(near, lambda: told.done() or told.set_result(None))
            far.send(b"x")
            await told
            trace("removed", loop.remove_reader(near), loop.remove_reader(near))
            trace("read", await loop.sock_recv(near, 10))


@promise
async def test_a_registration_that_nobody_wants_is_taken_out(loop, trace):
    with pair() as (near, far):
        await waited(loop, near, far)
        far.send(b"for nobody")
        assert await sleeps(loop)
        assert await loop.sock_recv(near, 100) == b"for nobody"
        await waited(loop, near, far)


@promise
async def test_a_closed_socket_with_a_duplicate_is_not_reported_for_ever(loop, trace):
    with pair() as (near, far):
        await waited(loop, near, far)
        with closed_with_a_duplicate(near):
            far.send(b"for the duplicate")
            assert await sleeps(loop)


@pytest.mark.parametrize("waiting", [False, True])
@promise
async def test_its_number_serves_another_socket(loop, trace, waiting):
    """The new socket's waits are neither missed nor woken by the old file."""
    with pair() as (near, far), pair() as (beside, beside_far):
        number = near.fileno()
        await waited(loop, near, far)
        with closed_with_a_duplicate(near), pair() as (fresh, fresh_far):
            assert number in (fresh.fileno(), fresh_far.fileno())
            if fresh_far.fileno() == number:
                fresh, fresh_far = fresh_far, fresh
                fresh.setblocking(False)
            beside_reading = asyncio.ensure_future(loop.sock_recv(beside, 10))
            reading = asyncio.ensure_future(loop.sock_recv(fresh, 100))
            if waiting:
                await settle(loop)
            far.send(b"for the duplicate")
            assert await sleeps(loop)
            fresh_far.send(b"for the new one")
            assert await reading == b"for the new one"
            beside_far.send(b"beside")
            assert await beside_reading == b"beside"
            assert await sleeps(loop)


@promise
async def test_a_callback_removed_from_a_closed_socket_is_not_reported(loop, trace):
    """On asyncio the loop spins from here on."""
    with pair() as (near, far):
        loop.add_reader(near, trace, "called")
        number = near.fileno()
        with closed_with_a_duplicate(near):
            assert loop.remove_reader(number)
            far.send(b"x")
            assert await sleeps(loop)
    assert "called" not in str(trace.lines())


@promise
async def test_a_peer_that_has_shut_down_does_not_keep_a_send_awake(loop, trace):
    for family in (socket.AF_UNIX, socket.AF_INET):
        with contextlib.ExitStack() as stack:
            if family == socket.AF_UNIX:
                near, far = map(stack.enter_context, socket.socketpair())
            else:
                near, far = stack.enter_context(pair())
            near.setblocking(False)
            far.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(near, 10) == b""
            sending = asyncio.ensure_future(loop.sock_sendall(near, pattern(4 << 20)))
            assert await sleeps(loop)
            sending.cancel()
            await asyncio.wait([sending])


@parity
async def test_packets_that_keep_their_bounds(loop, trace):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        for _ in range(3):
            reading = asyncio.ensure_future(loop.sock_recv(near, 100))
            await settle(loop)
            await loop.sock_sendall(far, b"one")
            await loop.sock_sendall(far, b"two")
            await trace.wait("first", reading)
            await trace.wait("second", loop.sock_recv(near, 100))
        far.close()
        await trace.wait("end", loop.sock_recv(near, 100))


@parity
async def test_a_netlink_socket(loop, trace):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        sock.bind((0, 0))
        sock.setblocking(False)
        await trace.wait("quiet", asyncio.wait_for(loop.sock_recv(sock, 100), 0.01))
        # A request that is cut short: the kernel answers with an error message.
        request = (16).to_bytes(4, "little") + b"\xff\xff" + b"\x05\x00" + bytes(8)
        reading = asyncio.ensure_future(loop.sock_recv(sock, 100))
        await settle(loop)
        await loop.sock_sendall(sock, request)
        trace("answer", len(await reading) > 0)
