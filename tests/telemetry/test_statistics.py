"""loop.statistics(): each field counts what its comment says."""

import asyncio
import functools
import os
import pathlib
import re
import socket

import pytest

import uring_loop

from .conftest import block, exchange

SLOW = 0.02


def test_bytes_and_connections_of_streams(loop):
    before = loop.statistics()
    loop.run_until_complete(exchange(b"q" * 1000, b"a" * 70))
    after = loop.statistics()
    assert after.received_bytes - before.received_bytes == 1070
    assert after.sent_bytes - before.sent_bytes == 1070
    assert after.accepts - before.accepts == 1


def test_bytes_of_a_message_that_no_single_call_takes(loop):
    """Bulk reads, and a backlog that goes out as the socket has room."""
    size = 4 << 20
    loop.run_until_complete(exchange(b"q" * size, b"a" * size))
    assert loop.statistics().received_bytes == 2 * size
    assert loop.statistics().sent_bytes == 2 * size


def test_bytes_of_a_buffered_protocol(loop):
    class Protocol(asyncio.BufferedProtocol):
        def __init__(self):
            self.memory = bytearray(1 << 16)
            self.count = 0
            self.ended = loop.create_future()

        def get_buffer(self, hint):
            return self.memory

        def buffer_updated(self, count):
            self.count += count

        def connection_lost(self, exc):
            self.ended.set_result(exc)

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            _, protocol = await loop.create_connection(Protocol, sock=ours)
            theirs.sendall(b"x" * 1000)
        await protocol.ended
        return protocol.count

    assert loop.run_until_complete(main()) == 1000
    assert loop.statistics().received_bytes == 1000


@pytest.mark.parametrize("family, connected", [
    (socket.AF_INET, False), (socket.AF_INET, True), (socket.AF_UNIX, False)])
def test_bytes_of_datagrams(loop, tmp_path, family, connected):
    """Those of a Unix socket go through the socket module."""
    received = loop.create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            received.set_result(data)

    async def main():
        address = ("127.0.0.1", 0)
        if family == socket.AF_UNIX:
            address = os.fspath(tmp_path / "socket")
        receiver, _ = await loop.create_datagram_endpoint(
            Receiver, local_addr=address, family=family)
        address = receiver.get_extra_info("sockname")
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, family=family,
            **{"remote_addr": address} if connected else {})
        sender.sendto(b"x" * 500, None if connected else address)
        assert len(await received) == 500
        sender.close()
        receiver.close()

    loop.run_until_complete(main())
    assert loop.statistics().received_bytes == 500
    assert loop.statistics().sent_bytes == 500


def test_callbacks_are_counted_whatever_brought_them(loop):
    """The ready queue, timers, watches, and a guest's dispatch."""
    ran = []
    ours, theirs = socket.socketpair()

    async def main():
        before = loop.statistics().callbacks
        for _ in range(10):
            loop.call_soon(ran.append, 1)
            loop.call_later(0, ran.append, 1)
        ended = loop.create_future()
        loop.add_reader(ours, lambda: (loop.remove_reader(ours),
                                       ended.set_result(None)))
        theirs.send(b"x")
        await ended
        while len(ran) < 20:
            await asyncio.sleep(0)
        return loop.statistics().callbacks - before

    with ours, theirs:
        # The others wake and step the task.
        assert loop.run_until_complete(main()) >= 21


def test_busy_seconds_grow_while_callbacks_are_measured(loop):
    async def main():
        block(SLOW)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert loop.statistics().busy_seconds == 0
    loop.watch_callbacks(lambda *seen: None, seconds=1)
    loop.run_until_complete(main())
    busy = loop.statistics().busy_seconds
    assert busy >= SLOW
    loop.watch_callbacks(None)
    loop.run_until_complete(main())
    assert loop.statistics().busy_seconds == busy


def test_slow_callbacks_are_reported_by_their_handles(loop):
    seen = []
    loop.watch_callbacks(lambda *report: seen.append(report), seconds=SLOW)

    async def main():
        handles = [loop.call_soon(block, SLOW), loop.call_later(0, block, SLOW)]
        loop.call_soon(int)
        await asyncio.sleep(0.001)
        return handles

    started = loop.time()
    handles = loop.run_until_complete(main())
    assert [what for what, _, _ in seen] == handles
    assert all(took >= SLOW and started <= start <= loop.time() - took
               for _, start, took in seen)


def test_a_slow_completion_is_reported_by_its_operation(loop):
    """data_received() is called by the completion itself, not by a handle."""
    seen = []

    class Slow(asyncio.Protocol):
        def data_received(self, data):
            block(SLOW)

        def connection_lost(self, exc):
            ended.set_result(None)

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            await loop.create_connection(Slow, sock=ours)
            theirs.send(b"x")
        await ended

    ended = loop.create_future()
    loop.watch_callbacks(lambda *report: seen.append(report), seconds=SLOW)
    loop.run_until_complete(main())
    assert seen and all(took >= SLOW for _, _, took in seen)


def test_an_exception_of_the_report_goes_to_the_loops_handler(loop):
    found = []
    loop.set_exception_handler(lambda loop, context: found.append(context["exception"]))
    loop.watch_callbacks(lambda *report: 1 / 0, seconds=0)
    loop.run_until_complete(asyncio.sleep(0))
    assert {type(exc) for exc in found} == {ZeroDivisionError}
    found.clear()
    loop.watch_callbacks(None)
    loop.run_until_complete(asyncio.sleep(0))
    assert found == []


@pytest.mark.parametrize("debug", [False, True])
def test_measuring_does_not_turn_debug_mode_on_or_off(loop, debug, caplog):
    loop.set_debug(debug)
    loop.slow_callback_duration = SLOW
    loop.watch_callbacks(lambda *report: None, seconds=SLOW)
    handle = loop.call_soon(functools.partial(block, SLOW))
    assert (handle._source_traceback is not None) == debug
    loop.run_until_complete(asyncio.sleep(0))
    loop.watch_callbacks(None)
    loop.call_soon(functools.partial(block, SLOW))
    loop.run_until_complete(asyncio.sleep(0))
    slow = [record for record in caplog.records if "took" in record.getMessage()]
    assert len(slow) == (2 if debug else 0)


DOCUMENTED = pathlib.Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"


def test_every_field_is_documented():
    table = DOCUMENTED.read_text("utf-8").rpartition("\n## ")[2]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert tuple(rows) == uring_loop.Statistics._fields
