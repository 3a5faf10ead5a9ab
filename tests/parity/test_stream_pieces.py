"""Writes of one callback that is alone: at once, until writing in pieces is a habit.

Whether something has been sent is asked of the peer, a plain socket, without waiting.
"""

import asyncio
import os
import socket
import struct
import time

import pytest

from .endpoints import (
    FAMILIES,
    PEER_SECONDS,
    Recorder,
    in_thread,
    pattern,
    read_exactly,
    read_to_end,
    settle,
    wired,
)
from .framework import parity, promise

# See conftest.py.
GATHERS_WRITES = True

# More iterations than make a habit.
ITERATIONS = 8
# More than bring it back: a machine that is busy may have stopped us for so long that
# it was lost.
ATTEMPTS = 40 * ITERATIONS

every_family = pytest.mark.parametrize("family", FAMILIES)
# Nothing is held back on a socket whose descriptor its user has.
loops_own = pytest.mark.parametrize("family", ("tcp", "unix"))


def there(peer):
    """What the peer could read now."""
    peer.setblocking(False)
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return b""
    finally:
        peer.settimeout(PEER_SECONDS)


async def piecemeal(loop, trace, family="unix"):
    """A transport whose application has the habit, and its peer."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    for _ in range(ITERATIONS):
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
        assert await in_thread(loop, read_exactly, peer, 9) == b"head body"
    return transport, peer, protocol


async def held_back(transport, peer, piece):
    """Write it so that it waits."""
    for _ in range(ATTEMPTS):
        transport.write(piece)
        if there(peer) == b"":
            return
        transport.write(b"body")
        assert there(peer) == b"body"
        await asyncio.sleep(0)
    raise AssertionError("each piece was sent at once")


async def ended(transport, peer, protocol):
    transport.abort()
    await protocol.happens("connection_lost")
    peer.close()


@every_family
@parity
async def test_without_the_habit_each_write_is_sent_at_once(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    for number in range(ITERATIONS):
        transport.write(b"one %d" % number)
        trace("sent", there(peer))
        await asyncio.sleep(0)
    for piece in (b"two", b"pieces"):
        transport.write(piece)
        trace("sent", there(peer))
    await ended(transport, peer, protocol)


@loops_own
@promise
async def test_pieces_go_out_together_when_the_callback_returns(loop, trace, family):
    transport, peer, protocol = await piecemeal(loop, trace, family)
    await held_back(transport, peer, b"head ")
    transport.write(bytearray(b"and "))
    transport.writelines([b"bo", b"dy"])
    assert there(peer) == b""
    seen = loop.create_future()
    loop.call_soon(lambda: seen.set_result(there(peer)))
    assert await seen == b"head and body"
    await ended(transport, peer, protocol)


@promise
async def test_what_was_given_may_be_changed_at_once(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace)
    data = bytearray(b"first")
    transport.write(data)
    data[:] = b"other"
    transport.write(memoryview(data))
    data[:] = b"third"
    await asyncio.sleep(0)
    assert there(peer) == b"firstother"
    await ended(transport, peer, protocol)


@promise
async def test_a_big_piece_that_would_be_copied_waits_for_nothing(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace)
    transport.write(b"small ")
    transport.write(bytearray(20_000))
    assert len(there(peer)) == 20_006
    transport.write(bytearray(20_000))
    assert len(there(peer)) == 20_000
    await ended(transport, peer, protocol)


@promise
async def test_big_pieces_wait_up_to_the_mark(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace)
    await held_back(transport, peer, bytes(40_000))
    # 80,000 bytes are more than the high-water mark allows to wait.
    transport.write(bytes(40_000))
    assert len(there(peer)) == 80_000
    await ended(transport, peer, protocol)


ASKED = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "set_write_buffer_limits": lambda t: t.set_write_buffer_limits(high=0),
}


@pytest.mark.parametrize("name", ASKED)
@every_family
@parity
async def test_whoever_asks_finds_it_sent(loop, trace, family, name):
    transport, peer, protocol = await piecemeal(loop, trace, family)
    transport.write(b"head ")
    trace("answer", ASKED[name](transport))
    trace("sent", there(peer))
    trace("left", transport.get_write_buffer_size())
    if name not in ("close", "abort"):
        await ended(transport, peer, protocol)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_a_file_is_sent_behind_the_pieces(loop, trace, tmp_path):
    (tmp_path / "file").write_bytes(pattern(100_000))
    transport, peer, protocol = await piecemeal(loop, trace, "tcp")
    transport.write(b"head ")
    transport.write(b"of a file")
    with open(tmp_path / "file", "rb") as file:
        reading = in_thread(loop, read_to_end, peer)
        trace("sent", await loop.sendfile(transport, file))
        transport.write(b"tail")
        transport.close()
        trace("peer got", await reading)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_order_among_transports_is_kept(loop, trace):
    """What another transport sends comes behind what was written before."""
    transport, peer, protocol = await piecemeal(loop, trace)
    other = Recorder(trace.lane("other"))
    transport_2, peer_2 = await wired(loop, "unix", other)
    transport.write(b"head ")
    transport_2.write(b"I have told them")
    await asyncio.sleep(0)
    trace("first", there(peer))
    trace("second", there(peer_2))
    read_fd, write_fd = os.pipe()
    pipe, _ = await loop.connect_write_pipe(
        asyncio.BaseProtocol, os.fdopen(write_fd, "wb", 0))
    transport.write(b"head ")
    transport.write(b"body")
    pipe.write(b"once more")
    trace("third", there(peer))
    trace("fourth", os.read(read_fd, 100))
    datagrams, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 9))
    transport.write(b"head ")
    datagrams.sendto(b"anybody there?")
    trace("fifth", there(peer))
    datagrams.abort()
    pipe.abort()
    os.close(read_fd)
    await ended(transport_2, peer_2, other)
    await ended(transport, peer, protocol)


@promise
async def test_the_habit_ends_with_one_write_alone(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace)
    await held_back(transport, peer, b"alone")
    await asyncio.sleep(0)
    assert there(peer) == b"alone"
    for _ in range(ITERATIONS):
        transport.write(b"head ")
        assert there(peer) == b"head "
        transport.write(b"body")
        assert there(peer) == b"body"
        await asyncio.sleep(0)
    await ended(transport, peer, protocol)


@promise
async def test_the_habit_ends_with_a_callback_that_takes_long(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace)
    await held_back(transport, peer, b"head ")
    time.sleep(0.02)   # what takes long
    transport.write(b"body")
    await asyncio.sleep(0)
    assert there(peer) == b"head body"
    transport.write(b"head ")
    assert there(peer) == b"head "
    await ended(transport, peer, protocol)


@parity
async def test_a_socket_that_is_full_takes_all_pieces_in_order(loop, trace):
    # The buffers of TCP grow, and would end the pause at a time of their own.
    transport, peer, protocol = await piecemeal(loop, trace, "unix")
    transport.set_write_buffer_limits(high=100_000)
    expected = b""
    for number in range(500):
        for piece in (b"<%d" % number, pattern(9_000, number), b"%d>" % number):
            transport.write(piece)
            expected += piece
        await asyncio.sleep(0)
    transport.close()
    received, error = await in_thread(loop, read_to_end, peer)
    trace("error", error)
    trace("as sent", received == expected)
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_a_peer_that_has_reset_ends_the_connection_once(loop, trace):
    transport, peer, protocol = await piecemeal(loop, trace, "tcp")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.pause_reading()
    peer.close()
    await settle(loop)
    transport.write(b"head ")
    transport.write(b"body")
    transport.close()
    await protocol.happens("connection_lost")
    trace("after the end", transport.write(b"nothing"))


@parity
def test_ctrl_c_between_two_pieces_loses_none(loop, trace):
    transport, peer, protocol = loop.run_until_complete(piecemeal(loop, trace))

    def interrupted():
        transport.write(b"head ")
        transport.write(b"body")
        raise KeyboardInterrupt

    loop.call_soon(interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    trace("sent", there(peer))
    loop.run_until_complete(ended(transport, peer, protocol))


@parity
def test_a_fork_between_two_pieces_sends_none_twice(loop, trace):
    transport, peer, protocol = loop.run_until_complete(piecemeal(loop, trace))
    children = []

    def fork():
        transport.write(b"head ")
        children.append(os.fork())
        if children != [0]:
            transport.write(b"body")
        loop.stop()

    loop.call_soon(fork)
    try:
        loop.run_forever()
    finally:
        if children == [0]:
            os._exit(0)
    os.waitpid(children[0], 0)
    trace("sent", there(peer))
    loop.run_until_complete(ended(transport, peer, protocol))
