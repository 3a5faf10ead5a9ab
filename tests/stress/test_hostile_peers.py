"""Peers that mean harm: what each costs the server, in bytes and counts.

The server is a process of its own, so that its memory is not the peers'. All the time
an honest connection is served beside. docs/security.md has the numbers measured.
"""

import contextlib
import json
import os
import pathlib
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading

import pytest
import uring_loop

from tests.slowness import PATIENCE_SECONDS

from ..parity import certificates, loops

SECONDS = PATIENCE_SECONDS
SERVER = pathlib.Path(__file__).with_name("hostile_server.py")
RESET = struct.pack("ii", 1, 0)
OURS = [name for name in loops.under_test() if name in loops.OURS]
# What a transport may hold above its limit of 64 KiB: the piece that passed it.
MOST_HELD = (64 << 10) + (16 << 10)
# Of one connection, besides what the kernel holds.
PLAIN_BYTES, TLS_BYTES = 16 << 10, 160 << 10


class Server:
    """The child, its ports, and an honest connection to its echo."""

    def __init__(self, loop_name, certificate):
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), loop_name, certificate], text=True,
            bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports = {}
        while "ready" not in self.ports:
            name, port = self.process.stdout.readline().split()
            self.ports[name] = int(port)
        self.honest = self.connect("echo")
        self.check_honest()
        self.start = self.state()

    def connect(self, name):
        return socket.create_connection(("127.0.0.1", self.ports[name]), SECONDS)

    def check_honest(self):
        question = random.randbytes(64)
        self.honest.sendall(question)
        answer = b""
        while len(answer) < len(question):
            answer += self.honest.recv(64)
        assert answer == question

    def state(self):
        self.process.stdin.write("\n")
        return json.loads(self.process.stdout.readline())

    def until(self, condition):
        """The state when the condition holds; the test's deadline bounds the wait."""
        while not condition(state := self.state()):
            self.check_honest()
        return state

    def per_connection(self, state, count):
        return max(0, state["resident"] - self.start["resident"]) // count

    def check_rest(self, made=None):
        """All hostile connections have ended and nothing of them is left."""
        state = self.until(lambda state: (
            state["descriptors"] <= self.start["descriptors"]
            and state["in_flight"] <= self.start["in_flight"]
            and state["made"] - state.get("lost", 0) == 1))
        assert made is None or state["made"] == 1 + made
        self.check_honest()
        return state

    def close(self):
        self.honest.close()
        self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0


@pytest.fixture(params=OURS)
def server(request, tmp_path):
    if request.param == "io_uring":
        loops.skip_where_io_uring_is_refused()
    path = tmp_path / "certificate.pem"
    issued = certificates.authority().issue_cert(certificates.NAME)
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    server = Server(request.param, str(path))
    yield server
    server.close()


@contextlib.contextmanager
def hostile(server, name, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.connect(name)) for _ in range(count)]


def note(record_property, server, state, count):
    """Bytes that the server holds for each; 0 where they say nothing, since
    AddressSanitizer keeps what has been freed."""
    found = server.per_connection(state, count)
    record_property("bytes per connection", found)
    return 0 if "libasan" in os.environ.get("LD_PRELOAD", "") else found


def test_connections_that_are_reset_leave_nothing(server, record_property):
    """5,000, half of them with data underway."""
    for number in range(5000):
        with server.connect("echo") as peer:
            if number % 2:
                peer.send(b"question")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if number % 100 == 0:
            server.check_honest()
    state = server.check_rest()
    # A connection that is reset in the backlog may never be announced.
    assert state["made"] <= 5001
    assert note(record_property, server, state, 5000) < 1024


def test_a_slow_loris_costs_little(server, record_property):
    """400 connections that send a byte now and then."""
    with hostile(server, "echo", 400) as peers:
        for _ in range(5):
            for peer in peers:
                peer.send(b"G")
            server.check_honest()
        state = server.until(lambda state: state["received"]
                             >= server.start["received"] + 2000)
        assert note(record_property, server, state, 400) < PLAIN_BYTES
    server.check_rest(400)


RUBBISH = {
    "random": lambda: random.randbytes(1000),
    "a record of random bytes": lambda: b"\x16\x03\x01\x02\x00" + random.randbytes(512),
    "an alert": lambda: b"\x15\x03\x03\x00\x02\x02\x28",
    "application data": lambda: b"\x17\x03\x03\x40\x00" + random.randbytes(16384),
    "plain HTTP": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_over_tls_ends_its_connection(server, record_property, kind):
    """100 connections; none reaches a protocol."""
    with hostile(server, "tls", 100) as peers:
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                peer.sendall(RUBBISH[kind]())
        server.check_honest()
        state = server.check_rest(0)
        assert note(record_property, server, state, 100) < TLS_BYTES
    check_tls(server)


def check_tls(server):
    context = certificates.client_context()
    with context.wrap_socket(server.connect("tls"),
                             server_hostname=certificates.NAME) as honest:
        honest.sendall(b"question")
        assert honest.recv(100) == b"question"
        with contextlib.suppress(OSError, ssl.SSLError):
            honest.unwrap()


def test_half_a_handshake_ends_with_its_time(server, record_property):
    """200 connections that begin a handshake and say no more."""
    hello = client_hello()
    with hostile(server, "tls", 200) as peers:
        for peer in peers:
            peer.sendall(hello[:len(hello) // 2])
        server.check_honest()
        state = server.until(lambda state: state["timers"] >= 200)
        assert note(record_property, server, state, 200) < TLS_BYTES
        server.check_rest(0)
    check_tls(server)


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = certificates.client_context().wrap_bio(
        incoming, outgoing, server_hostname=certificates.NAME)
    with pytest.raises(ssl.SSLWantReadError):
        end.do_handshake()
    return outgoing.read()


def test_peers_that_never_read_hold_what_the_limit_allows(server, record_property):
    """50 connections to a server that has more to say than fits."""
    with hostile(server, "pour", 50):
        state = server.until(lambda state: state["made"] == 51)
        for _ in range(20):
            server.check_honest()
        state = server.state()
        assert 0 < state["most_held"] <= MOST_HELD
        assert note(record_property, server, state, 50) < MOST_HELD + PLAIN_BYTES
    server.check_rest(50)


def test_floods_of_paused_connections_stay_in_the_kernel(server, record_property):
    """50 connections that send until nothing is taken from them any more."""
    with hostile(server, "paused", 50) as peers:
        for peer in peers:
            peer.setblocking(False)
        sent = sum(map(fill, peers))
        server.check_honest()
        state = server.state()
        assert sent > 50 * (64 << 10)
        assert state["received"] == server.start["received"] + 64
        # What arrived before the receive was cancelled is kept, in buffers of the pool.
        assert note(record_property, server, state, 50) < PLAIN_BYTES + (64 << 10)
        server.check_honest()


def fill(peer):
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += peer.send(bytes(65536))
    return sent


def test_floods_of_tiny_segments_do_not_pile_up(server, record_property):
    """20,000 segments of one byte; the answers are read, as from an honest peer."""
    with hostile(server, "echo", 1) as (peer,):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = threading.Thread(target=read, args=(peer, 20000))
        reader.start()
        for number in range(20000):
            peer.send(b"x")
            if number % 1000 == 0:
                server.check_honest()
        reader.join()
        state = server.state()
        assert state["deliveries"] <= server.start["deliveries"] + 20000 + 20
        assert note(record_property, server, state, 1) < 4 << 20
    server.check_rest(1)


def read(peer, size):
    while size:
        size -= len(peer.recv(65536))


# ---- inside the process -------------------------------------------------------------


@pytest.fixture(params=OURS)
def loop(request):
    if request.param == "io_uring":
        loops.skip_where_io_uring_is_refused()
    loop = uring_loop.Loop(backend=request.param)
    yield loop
    loop.close()


def test_timers_that_are_cancelled_at_once_leave_nothing(loop):
    """100,000; the loop looks at none of them."""
    ran = []
    handles = [loop.call_later(1000 + number % 100, ran.append, number)
               for number in range(100_000)]
    assert loop.statistics().timers == 100_000
    for handle in handles:
        handle.cancel()
    before = loop.statistics().iterations
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert loop.statistics().timers == 0
    assert ran == [] and loop.statistics().iterations - before <= 3


def test_a_flood_of_calls_from_threads_starves_nobody(loop):
    """From 4 threads, 50,000 or more: they go on until a socket has been read."""
    near, far = socket.socketpair()
    made, count, answered, ended = [0] * 4, [0] * 4, [], []

    def ran(thread, number):
        assert number == count[thread]
        count[thread] += 1

    def flood(thread):
        while made[thread] < 12_500 or not answered:
            loop.call_soon_threadsafe(ran, thread, made[thread])
            if made[thread] % 1000 == 0:
                far.send(b"x")
            made[thread] += 1
        loop.call_soon_threadsafe(end, thread)

    def end(thread):
        ended.append(thread)
        if len(ended) == 4:
            loop.stop()

    with near, far:
        near.setblocking(False)
        loop.add_reader(near, lambda: answered.append(near.recv(100)))
        threads = [threading.Thread(target=flood, args=(each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        loop.run_forever()
        for thread in threads:
            thread.join()
        loop.remove_reader(near)
    assert count == made
