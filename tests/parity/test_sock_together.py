"""sock_*() calls that are cancelled, doubled, or share a descriptor with others."""

import asyncio
import contextlib
import os
import socket

import pytest

from .endpoints import (
    PEER_SECONDS,
    connected_sockets,
    in_thread,
    pattern,
    read_exactly,
    reset,
    settle,
)
from .framework import parity, promise
from .test_sock import pair, udp_pair

BIG = 4 << 20
# A call that is cancelled after so many iterations: before it starts, while it waits.
MOMENTS = (0, 1, 2, 3)


async def cancelled(loop, trace, coroutine, moment):
    """Start a call, let the loop turn, cancel it; say whether that worked."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(moment):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    trace("cancelled", task.cancelled())
    return task


WAITING = {
    "recv": lambda loop, sock: loop.sock_recv(sock, 100),
    "recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(100)),
    "recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 100),
    "recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(100)),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", WAITING)
@parity
async def test_a_cancelled_read_leaves_the_socket_as_it_was(loop, trace, name, moment):
    makes = {"recv": pair, "recv_into": pair}
    with makes.get(name, udp_pair)() as (near, far):
        where = near.getsockname()
        send = far.send if name in makes else lambda data: far.sendto(data, where)
        for number in range(3):
            await cancelled(loop, trace, WAITING[name](loop, near), moment)
            send(b"for the next %d" % number)
            result = await WAITING[name](loop, near)
            trace("read", result[0] if isinstance(result, tuple) else result)
        trace("blocking", near.gettimeout())
        trace("not watched", loop.remove_reader(near), loop.remove_writer(near))


@pytest.mark.parametrize("moment", MOMENTS)
@parity
async def test_a_read_cancelled_as_data_comes_loses_nothing(loop, trace, moment):
    """The bytes come after the last look at the socket and before the cancel."""
    with pair() as (near, far):
        total = b""
        for _ in range(20):
            task = asyncio.ensure_future(loop.sock_recv(near, 100))
            for _ in range(moment):
                await asyncio.sleep(0)
            far.send(b"1234567890")
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                total += task.result()
        near.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            total += near.recv(1000)
        trace("all there", total == b"1234567890" * 20)


@pytest.mark.parametrize("moment", MOMENTS)
@parity
async def test_a_cancelled_send_has_sent_a_part(loop, trace, moment):
    with pair() as (near, far):
        data = pattern(BIG)
        await cancelled(loop, trace, loop.sock_sendall(near, data), moment)
        await settle(loop)
        trace("not watched", loop.remove_writer(near))
        near.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            near.send(b"")
        near.shutdown(socket.SHUT_WR)
        received = await in_thread(loop, read_exactly, far, BIG)
        trace("a part", data.startswith(received), len(received) < BIG)
        far.send(b"the other direction")
        await trace.wait("read", loop.sock_recv(near, 100))


@pytest.mark.parametrize("moment", MOMENTS)
@parity
async def test_a_cancelled_accept_leaves_the_listener(loop, trace, moment):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for _ in range(3):
            await cancelled(loop, trace, loop.sock_accept(listener), moment)
            with socket.create_connection(listener.getsockname()) as peer:
                accepted, address = await loop.sock_accept(listener)
                trace("accepted", address == peer.getsockname())
                accepted.close()


@pytest.mark.parametrize("moment", MOMENTS)
@parity
async def test_a_cancelled_connect_leaves_the_socket(loop, trace, moment):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen(0)
        address = listener.getsockname()
        with socket.socket(socket.AF_UNIX) as first, socket.socket(
                socket.AF_INET) as second, socket.create_server(LOCAL) as server:
            first.setblocking(False)
            second.setblocking(False)
            await trace.wait("connect", loop.sock_connect(first, address))
            await cancelled(loop, trace.lane("may be done"), loop.sock_connect(
                second, server.getsockname()), 0)
            await settle(loop)
            trace("not watched", loop.remove_writer(second))
            await trace.wait("again", loop.sock_connect(second, server.getsockname()))
            trace("peer", second.getpeername() == server.getsockname())


LOCAL = ("127.0.0.1", 0)


@parity
async def test_a_timeout_around_each_call(loop, trace):
    with pair() as (near, far), socket.create_server(LOCAL) as listener:
        listener.setblocking(False)
        for name, call in WAITING.items():
            await trace.wait(name, asyncio.wait_for(call(loop, near), 0.001))
        await trace.wait("accept", asyncio.wait_for(loop.sock_accept(listener), 0.001))
        sending = loop.sock_sendall(near, pattern(BIG))
        await trace.wait("sendall", asyncio.wait_for(sending, 0.001))
        trace("not watched", loop.remove_reader(near), loop.remove_writer(near))


# ---- two at once ------------------------------------------------------------------


@parity
async def test_the_later_of_two_reads_takes_the_place_of_the_earlier(loop, trace):
    with pair() as (near, far):
        reads = [asyncio.ensure_future(loop.sock_recv(near, 3)) for _ in range(2)]
        await settle(loop)
        far.send(b"onetwo")
        await trace.wait("later", reads[1])
        await settle(loop)
        trace("earlier waits for ever", not reads[0].done())
        await trace.wait("a third", loop.sock_recv(near, 3))
        reads[0].cancel()
        await asyncio.wait(reads)
        trace("watched", loop.remove_reader(near))


@pytest.mark.parametrize("first", [0, 1])
@parity
async def test_one_of_two_reads_is_cancelled(loop, trace, first):
    with pair() as (near, far):
        reads = [asyncio.ensure_future(loop.sock_recv(near, 9)) for _ in range(2)]
        await settle(loop)
        reads[first].cancel()
        await settle(loop)
        far.send(b"to the other")
        await settle(loop)
        trace("done", [read.done() for read in reads])
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)
        far.send(b" and the next")
        await trace.wait("read", loop.sock_recv(near, 100))


@promise
async def test_a_read_cancelled_in_the_iteration_of_its_data(loop, trace):
    """asyncio has taken the bytes by then, and loses them with the cancel."""
    with pair() as (near, far):
        total = b""
        for _ in range(50):
            task = asyncio.ensure_future(loop.sock_recv(near, 100))
            await settle(loop)
            far.send(b"1234567890")
            # Timers run after what I/O brought, in the same iteration.
            loop.call_later(0, task.cancel)
            await asyncio.wait([task])
            if not task.cancelled():
                total += task.result()
        with contextlib.suppress(BlockingIOError):
            total += near.recv(1000)
        assert total == b"1234567890" * 50


@parity
async def test_a_read_and_a_write_of_one_socket(loop, trace):
    with pair() as (near, far):
        data = pattern(BIG)
        for _ in range(3):
            reading = asyncio.ensure_future(loop.sock_recv(near, 100))
            sending = asyncio.ensure_future(loop.sock_sendall(near, data))
            await settle(loop)
            reading.cancel()
            await asyncio.wait([reading])
            trace("peer got", await in_thread(loop, read_exactly, far, BIG) == data)
            await trace.wait("sent", sending)


@parity
async def test_a_reader_takes_the_place_of_a_read(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await asyncio.sleep(0)
        loop.add_reader(near, lambda: trace("reader", near.recv(100)))
        far.send(b"for the reader")
        await settle(loop)
        trace("read", reading.done())
        reading.cancel()
        await asyncio.wait([reading])
        far.send(b"is it still there")
        await settle(loop)
        trace("watched", loop.remove_reader(near))


@parity
async def test_a_read_takes_the_place_of_a_reader(loop, trace):
    with pair() as (near, far):
        loop.add_reader(near, trace, "called")
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        far.send(b"for the read")
        await trace.wait("read", reading)
        far.send(b"for nobody")
        await settle(loop)
        trace("watched", loop.remove_reader(near))


@pytest.mark.parametrize("writing", [False, True])
@parity
async def test_a_call_that_waits_can_be_removed_like_a_callback(loop, trace, writing):
    with pair() as (near, far):
        call = loop.sock_sendall(near, pattern(BIG)) if writing else (
            loop.sock_recv(near, 100))
        waiting = asyncio.ensure_future(call)
        await settle(loop)
        remove = loop.remove_writer if writing else loop.remove_reader
        trace("removed", remove(near), remove(near))
        far.send(b"for nobody")
        far.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                far.recv(1 << 20)
        await settle(loop)
        trace("waits for ever", not waiting.done())
        waiting.cancel()
        await asyncio.wait([waiting])


@parity
async def test_a_read_beside_a_writer(loop, trace):
    with pair() as (near, far):
        written = loop.create_future()
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await asyncio.sleep(0)
        loop.add_writer(near, lambda: written.done() or written.set_result(None))
        await written
        trace("watched", loop.remove_writer(near))
        far.send(b"for the read")
        await trace.wait("read", reading)


# ---- ends -------------------------------------------------------------------------


@parity
async def test_a_reset_while_we_wait(loop, trace):
    near, far = connected_sockets("tcp")
    near.setblocking(False)
    with near:
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        reset(far)
        await trace.wait("read", reading)
        await trace.wait("again", loop.sock_recv(near, 100))
        await trace.wait("send", loop.sock_sendall(near, b"x"))


@parity
async def test_a_socket_shut_down_while_we_wait(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        near.shutdown(socket.SHUT_RD)
        await trace.wait("read", reading)


@parity
async def test_a_descriptor_used_again_after_each_call(loop, trace):
    for name, call in WAITING.items():
        make = pair if name in ("recv", "recv_into") else udp_pair
        with make() as (near, far):
            await cancelled(loop, trace, call(loop, near), 2)
            number = near.fileno()
        with pair() as (near, far):
            far.send(b"for the new one")
            trace("same number", near.fileno() == number)
            await trace.wait("read", loop.sock_recv(near, 100))


@parity
async def test_sendfile_cancelled_half_way(loop, trace):
    near, far = connected_sockets("tcp")
    near.setblocking(False)
    far.settimeout(PEER_SECONDS)
    with near, far, open(os.memfd_create("parity"), "w+b") as file:
        data = pattern(BIG)
        file.write(data)
        file.flush()
        file.seek(0)
        sending = asyncio.ensure_future(loop.sock_sendfile(near, file))
        await settle(loop)
        trace("waits", not sending.done())
        sending.cancel()
        await asyncio.wait([sending])
        trace("not watched", loop.remove_writer(near))
        await settle(loop)
        near.shutdown(socket.SHUT_WR)
        received = await in_thread(loop, read_exactly, far, BIG)
        trace("a part", data.startswith(received), 0 < len(received) < BIG)
        file.seek(0)
        trace("file", file.read(10) == data[:10])
