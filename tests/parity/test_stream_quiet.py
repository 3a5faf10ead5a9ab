"""A stream that can make no progress sleeps, whatever the state of its peer.

A poll on the ring always hears POLLRDHUP, POLLHUP and POLLERR, asked for or not: a poll
for room on a full socket whose peer has shut down its writing side completes at once.
Iterations are counted, not time.
"""

import asyncio
import socket

import pytest

from .endpoints import (
    FAMILIES, Recorder, ended, in_thread, pattern, read_exactly, reset, settle, wired)
from .framework import promise

BIG = 8 << 20
# Far fewer than a loop makes that does not sleep.
FEW = 60
QUIET_SECONDS = 0.1

every_family = pytest.mark.parametrize("family", FAMILIES)


async def quiet(loop):
    """Fail unless the loop sleeps now."""
    await settle(loop)
    before = loop.statistics().iterations
    await asyncio.sleep(QUIET_SECONDS)
    assert loop.statistics().iterations - before < FEW


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("paused", [False, True])
@every_family
@promise
async def test_a_half_closed_peer_that_does_not_read(
        loop, trace, family, paused, closing):
    protocol = Recorder(trace.lane("near"), eof_result=True)
    transport, peer = await wired(loop, family, protocol)
    if paused:
        transport.pause_reading()
    transport.write(pattern(BIG))
    peer.shutdown(socket.SHUT_WR)
    if not paused:
        await protocol.happens("eof_received")
    if closing:
        transport.close()
    await quiet(loop)
    # It is told of room all the same, again and again.
    for part in range(4):
        got = await in_thread(loop, read_exactly, peer, BIG // 4)
        assert got == pattern(BIG)[part * BIG // 4:(part + 1) * BIG // 4]
        if part < 3:
            await quiet(loop)
    if closing:
        await protocol.happens("connection_lost")
    else:
        assert transport.get_write_buffer_size() == 0
        await ended(protocol)
    peer.close()


@every_family
@promise
async def test_a_second_wait_for_a_half_closed_peer(loop, trace, family):
    """After everything was sent once."""
    protocol = Recorder(trace.lane("near"), eof_result=True)
    transport, peer = await wired(loop, family, protocol)
    peer.shutdown(socket.SHUT_WR)
    for seed in (1, 2):
        transport.write(pattern(BIG, seed))
        await quiet(loop)
        assert await in_thread(loop, read_exactly, peer, BIG) == pattern(BIG, seed)
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)
    await ended(protocol)
    peer.close()


@pytest.mark.parametrize("backlog", [0, BIG])
@pytest.mark.parametrize("how", [reset, socket.socket.close])
@every_family
@promise
async def test_a_peer_that_is_gone_behind_a_pause(loop, trace, family, how, backlog):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    transport.write(pattern(backlog))
    transport.pause_reading()
    peer.send(b"unread")
    how(peer)
    await quiet(loop)
    transport.abort()
    await protocol.happens("connection_lost")


@pytest.mark.parametrize("size", [5, 100_000])
@every_family
@promise
async def test_an_end_behind_a_pause_in_data_received(loop, trace, family, size):
    class Pausing(Recorder):
        def data_received(self, data):
            self.transport.pause_reading()
            super().data_received(data)

    protocol = Pausing(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    peer.sendall(pattern(size))
    peer.close()
    await protocol.receives(1)
    await quiet(loop)
    transport.abort()
    await protocol.happens("connection_lost")
