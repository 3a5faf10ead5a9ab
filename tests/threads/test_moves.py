"""Who may use a loop's ring between two runs: every thread, and none too much.

That a loop goes on in another thread with all that is in flight is in
tests/stress/test_moves.py; what the kernel itself says to a foreign thread, in
tests/ring/test_issuer.py.
"""

import asyncio
import gc
import os
import socket
import threading

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

SQ_ENTRIES = 8
MANY = 50       # several times what the queue holds


@pytest.fixture
def loop(ring_options):
    loop = uring_loop.new_event_loop(sq_entries=SQ_ENTRIES, **ring_options)
    yield loop
    loop.close()


def in_thread(function, *args):
    """Its result, from a thread that has ended."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


def run_once(loop):
    loop.run_until_complete(asyncio.sleep(0))


@pytest.fixture
def pairs():
    pairs = [socket.socketpair() for _ in range(MANY)]
    yield pairs
    for pair in pairs:
        for sock in pair:
            sock.close()


async def heard_of_all(heard, count):
    while len(heard) < count:
        await asyncio.sleep(0)
    return heard


class Listener(asyncio.Protocol):
    """Does not read until it is told to: resume_reading() is a request."""

    def __init__(self, heard):
        self.heard = heard

    def connection_made(self, transport):
        transport.pause_reading()

    def data_received(self, data):
        self.heard.append(data)


def connect(loop, pairs, heard):
    """A transport for each pair, made in this thread, which reads nothing yet."""
    async def main():
        return [make(loop, ours, Listener(heard)) for ours, _ in pairs]

    return loop.run_until_complete(main())


def make(loop, sock, protocol):
    """As of a socket that the loop made: on one given by `sock=` nothing is ever in
    flight, and so nothing has to move."""
    sock.setblocking(False)
    return loop._make_socket_transport(sock, protocol)


def close(loop, transports):
    for transport in transports:
        transport.close()
    run_once(loop)
    run_once(loop)


@pytest.mark.parametrize("back", [True, False], ids=["same thread", "another thread"])
def test_requests_of_a_foreign_thread_beyond_the_queue_are_kept(loop, pairs, back):
    """The loop ran here; another thread lets many read; then either runs it."""
    heard = []
    transports = connect(loop, pairs, heard)

    def listen():
        for transport in transports:
            transport.resume_reading()

    def finish():
        for number, (_, theirs) in enumerate(pairs):
            theirs.send(bytes([number]))
        found = loop.run_until_complete(heard_of_all(heard, MANY))
        close(loop, transports)
        return sorted(found)

    in_thread(listen)
    assert loop.ring.in_flight_count > SQ_ENTRIES
    found = finish() if back else in_thread(finish)
    assert found == [bytes([number]) for number in range(MANY)]


@pytest.mark.parametrize("back", [True, False], ids=["same thread", "another thread"])
def test_what_is_withdrawn_beyond_the_queue_is_not_heard_of(loop, pairs, back):
    """Asked for and withdrawn, in this order and by the same thread: a cancel that
    overtook its request would leave it alive."""
    heard = []
    transports = connect(loop, pairs, heard)

    def listen():
        for number, transport in enumerate(transports):
            transport.resume_reading()
            if number % 2:
                transport.pause_reading()

    def finish():
        for number, (_, theirs) in enumerate(pairs):
            theirs.send(bytes([number]))
        loop.run_until_complete(heard_of_all(heard, MANY // 2))
        for _ in range(10):
            run_once(loop)
        found = sorted(heard)
        close(loop, transports)
        return found

    in_thread(listen)
    found = finish() if back else in_thread(finish)
    assert found == [bytes([number]) for number in range(0, MANY, 2)]


def test_the_peer_hears_of_the_end_once_the_loop_runs_again(loop, pairs):
    """A descriptor that is closed after remove_reader() in a foreign thread."""
    for ours, _ in pairs:
        loop.add_reader(ours, print)
    run_once(loop)

    def withdraw():
        for ours, _ in pairs:
            loop.remove_reader(ours)
            ours.close()

    in_thread(withdraw)
    run_once(loop)
    for _, theirs in pairs:
        theirs.settimeout(PATIENCE_SECONDS)
        assert theirs.recv(1) == b""


def test_many_connections_are_aborted_between_two_runs(loop, pairs):
    lost = []

    class Protocol(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.append(exc)

    async def connect():
        return [make(loop, ours, Protocol()) for ours, _ in pairs]

    transports = loop.run_until_complete(connect())

    def abort():
        for transport in transports:
            transport.abort()

    in_thread(abort)
    loop.run_until_complete(heard_of_all(lost, MANY))
    assert lost == [None] * MANY


def test_a_loop_that_is_closed_with_requests_beyond_the_queue(loop, pairs):
    transports = connect(loop, pairs, [])

    def listen():
        for transport in transports:
            transport.resume_reading()

    in_thread(listen)
    assert loop.ring.in_flight_count > SQ_ENTRIES
    loop.close()
    assert loop.ring.in_flight_count == 0
    # Nobody has closed them.
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        transports.clear()
        gc.collect()


# ---- without a single issuer ----------------------------------------------------


def test_single_issuer_is_shown_and_can_be_left_out(no_leaks):
    plain = uring_loop.Loop(backend="io_uring", taskrun="coop", single_issuer=False)
    usual = uring_loop.Loop(backend="io_uring", taskrun="coop")
    try:
        assert "SINGLE_ISSUER" not in plain.ring_flags
        assert plain.ring_refused["SINGLE_ISSUER"] == (
            "not asked for: single_issuer=False")
        assert "COOP_TASKRUN" in plain.ring_flags or plain.ring_refused
        if "SINGLE_ISSUER" not in usual.ring_refused:
            assert "SINGLE_ISSUER" in usual.ring_flags
    finally:
        plain.close()
        usual.close()


def test_defer_needs_a_single_issuer(no_leaks):
    for backend in ("io_uring", "epoll"):
        with pytest.raises(ValueError, match="needs taskrun='coop'"):
            uring_loop.Loop(backend=backend, single_issuer=False)
    with pytest.raises(ValueError, match="must be True or False, not 1"):
        uring_loop.Loop(single_issuer=1)


def test_a_loop_without_a_single_issuer_moves_all_the_same(pairs, no_leaks):
    loop = uring_loop.Loop(
        backend="io_uring", taskrun="coop", single_issuer=False, sq_entries=SQ_ENTRIES)
    heard = []

    def read(number):
        pairs[number][0].recv(10)
        heard.append(number)

    def watch_and_run():
        for number, (ours, _) in enumerate(pairs):
            loop.add_reader(ours, read, number)
        run_once(loop)

    try:
        run_once(loop)
        in_thread(watch_and_run)
        for _, theirs in pairs:
            os.write(theirs.fileno(), b"x")
        found = loop.run_until_complete(heard_of_all(heard, MANY))
        assert sorted(found) == list(range(MANY))
    finally:
        loop.close()
