"""Workers that share a listening socket share the connections, too."""

import asyncio
import collections
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from ..parity import loops
from . import kit, servers

CONNECTIONS = 400
FEWEST = CONNECTIONS // 4
OWNERS = pathlib.Path(__file__).with_name("owners.py")


def for_backend(loop_name):
    """Environment of a server's process, and whose loop it runs."""
    if loop_name == kit.STOCK:
        return "stock", dict(os.environ)
    if loop_name == "io_uring":
        loops.skip_where_io_uring_is_refused()
    return "ours", os.environ | {"URING_LOOP_BACKEND": loop_name}


def check_fair(ask_all, loop_name):
    """In the best of three rounds: a busy machine may keep a worker from running."""
    rounds = []
    for _ in range(3):
        served = ask_all()
        rounds.append(served)
        assert sum(served.values()) == CONNECTIONS
        # asyncio leaves it to chance, which a busy machine may turn against one worker.
        if loop_name == kit.STOCK or (
                len(served) == 2 and min(served.values()) >= FEWEST):
            return
    pytest.fail(f"connections of each worker: {rounds}")


def pid_of(answer):
    return json.loads(answer)["pid"]


# ---- servers with worker processes --------------------------------------------------


@kit.every_name
def test_uvicorn_workers_share(tmp_path, loop_name):
    whose, environment = for_backend(loop_name)
    with servers.running(servers.uvicorn(
            tmp_path, whose, workers=2, environment=environment)) as server:
        check_fair(
            lambda: servers.served_by(server.port, CONNECTIONS, pid_of), loop_name)


@pytest.mark.parametrize("worker", ["asgi", "aiohttp"])
@kit.every_name
def test_gunicorn_workers_share(tmp_path, loop_name, worker):
    whose, environment = for_backend(loop_name)
    with servers.running(servers.gunicorn(
            tmp_path, whose, worker, environment=environment)) as server:
        for _ in range(2):
            server.until("Booting worker")
        both_serve(server.port)
        check_fair(
            lambda: servers.served_by(server.port, CONNECTIONS, pid_of), loop_name)


def both_serve(port):
    """Gunicorn does not tell when a worker has begun to accept: ask until both have."""
    seen = set()
    while len(seen) < 2:
        with contextlib.closing(servers.client(port)) as connection:
            seen.add(pid_of(servers.ask(connection)))


# ---- two owners of one socket -------------------------------------------------------


class Owners:
    """The program owners.py; asks it, and opens its gates."""

    def __init__(self, kind, loop_name):
        for_backend(loop_name)  # skips
        self.process = subprocess.Popen(
            [sys.executable, str(OWNERS), kind, loop_name], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.hear("port")[0])
        self.names = sorted(self.hear("ready")[0] for _ in range(2))

    def hear(self, word):
        line = self.process.stdout.readline().split()
        assert line[:1] == [word], f"said {line}, exit {self.process.poll()}"
        return line[1:]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), kit.PEER_SECONDS)

    def name_of(self, connection):
        connection.sendall(b"name")
        return connection.recv(100).decode()

    def who_serves(self):
        with self.connect() as connection:
            return self.name_of(connection)

    def open_gate(self, name):
        self.process.stdin.write(name[-1] + "\n")

    def close(self):
        """The end of its input ends the program, which ends its owners."""
        try:
            self.process.communicate(timeout=kit.PEER_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise


@pytest.fixture(params=["fork", "spawn", "threads"])
def owners(request, loop_name):
    owners = Owners(request.param, loop_name)
    yield owners
    owners.close()


@kit.every_name
def test_two_owners_share(owners, loop_name):
    check_fair(lambda: collections.Counter(
        owners.who_serves() for _ in range(CONNECTIONS)), loop_name)


@kit.every_name
def test_a_busy_owner_keeps_nobody_waiting(owners):
    blocked = set()
    while len(blocked) < 2:
        with owners.connect() as connection:
            busy = owners.name_of(connection)
            if busy in blocked:
                continue
            connection.sendall(b"block")
            assert owners.hear("blocked") == [busy]
            idle, = {*owners.names} - {busy}
            assert {owners.who_serves() for _ in range(20)} == {idle}
            owners.open_gate(busy)
            assert connection.recv(100) == b"over"
            blocked.add(busy)


@kit.every_name
def test_connections_at_once_are_all_served(owners):
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(owners.connect()) for _ in range(60)]
        for connection in connections:
            assert owners.name_of(connection) in owners.names


# ---- a listener that closes ---------------------------------------------------------


class Announced(asyncio.Protocol):
    """Says to the client that this server has taken its connection."""

    def __init__(self, made, act):
        self.made = made
        self.act = act

    def connection_made(self, transport):
        self.made.append(transport)
        transport.write(b"first")
        self.act()


class Listening:
    """A listener of the loop, with a second owner, and clients."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.other = kit.with_timeout(self.listener.dup())
        self.clients = []
        self.made = []

    async def serve(self, loop, act=lambda: None):
        """Serve; `act` is called with each connection that has been announced."""
        self.server = await loop.create_server(
            lambda: Announced(self.made, act), sock=self.listener)
        await kit.turns()

    def connect(self, count=5):
        for _ in range(count):
            self.clients.append(kit.with_timeout(
                socket.create_connection(self.other.getsockname())))

    def second_serves_the_rest(self):
        for _ in range(len(self.clients) - len(self.made)):
            accepted, _ = self.other.accept()
            accepted.sendall(b"second")
            accepted.close()

    def answers(self):
        return collections.Counter(client.recv(100) for client in self.clients)

    def forget_clients(self):
        while self.clients:
            self.clients.pop().close()

    async def over(self):
        """Every client was served by exactly one of the two."""
        await kit.turns(5)
        await kit.blocking(self.second_serves_the_rest)
        first = len(self.made)
        expected = {b"first": first, b"second": len(self.clients) - first}
        answers = await kit.blocking(self.answers)
        assert answers == collections.Counter({k: n for k, n in expected.items() if n})
        self.forget_clients()
        self.other.close()
        for transport in self.made:
            transport.abort()
        await kit.turns()


@pytest.fixture
def listening():
    return Listening()


async def closes_after(loop, listening, callbacks):
    """Connections come, and so many callbacks later the server is closed."""

    def close_after(callbacks):
        if callbacks:
            loop.call_soon(close_after, callbacks - 1)
        else:
            listening.server.close()

    def connect_and_close():
        listening.connect()
        close_after(callbacks)

    await listening.serve(loop)
    loop.call_soon(connect_and_close)
    await listening.over()


@pytest.mark.parametrize("callbacks", [0, 1])
def test_close_leaves_what_was_not_announced(run, loop, listening, callbacks):
    run(closes_after(loop, listening, callbacks))


@kit.ours_only
@pytest.mark.parametrize("callbacks", [2, 3, 4])
def test_close_drops_nothing_that_was_accepted(run, loop, listening, callbacks):
    """asyncio drops what it has accepted and not yet announced: its transports refuse
    a server that has been closed."""
    run(closes_after(loop, listening, callbacks))


def test_close_by_the_first_connection_leaves_the_others(run, loop, listening):
    """asyncio may have accepted all in one go: each has been announced then."""

    async def main():
        await listening.serve(loop, lambda: listening.server.close())
        listening.connect()
        while not listening.made:
            await asyncio.sleep(0)
        await listening.over()

    run(main())


def test_what_comes_between_two_runs_is_for_whoever_asks_first(run, loop, listening):
    run(listening.serve(loop))
    listening.connect()
    listening.second_serves_the_rest()
    assert listening.answers() == {b"second": 5}
    assert listening.made == []
    listening.forget_clients()
    run(all_served(listening))
    listening.server.close()
    run(listening.over())


def test_closing_the_loop_leaves_the_backlog(run, loop, listening):
    run(listening.serve(loop))
    listening.connect()
    loop.close()
    assert listening.made == []
    listening.second_serves_the_rest()
    assert listening.answers() == {b"second": 5}
    listening.forget_clients()
    listening.other.close()
    listening.listener.close()


# ---- forks and threads --------------------------------------------------------------

# The test process may have threads beside; a forked child here uses none of them.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Child:
    """A forked child that does something, then waits until it may end."""

    def __init__(self, act=lambda: None):
        self.gate, inner = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.gate.close()
                act()
                inner.send(b"x")
                inner.recv(1)
            finally:
                os._exit(0)
        inner.close()
        self.gate.recv(1)

    def end(self):
        self.gate.close()
        os.waitpid(self.pid, 0)


async def all_served(listening, count=20):
    """Connections one after the other are each announced."""
    for _ in range(count):
        listening.connect(1)
        before = len(listening.made)
        assert await kit.blocking(listening.clients[-1].recv, 100) == b"first"
        assert len(listening.made) <= before + 1
        listening.clients.pop().close()
    for transport in listening.made:
        transport.abort()
    listening.made.clear()
    await kit.turns()


@forks
def test_a_forked_child_swallows_nothing(run, loop, listening):
    run(listening.serve(loop))
    child = Child()
    run(all_served(listening))
    child.end()
    run(all_served(listening))
    listening.server.close()
    run(listening.over())


@forks
@kit.ours_only
def test_a_forked_child_that_closes_what_it_inherited_swallows_nothing(
        run, loop, listening):
    """On asyncio the child takes the parent's listener out of the epoll set, which
    they share."""

    def close_all():
        listening.server.close()
        listening.listener.close()
        loop.close()

    run(listening.serve(loop))
    child = Child(close_all)
    run(all_served(listening))
    child.end()
    run(all_served(listening))
    listening.server.close()
    run(listening.over())


@forks
@kit.every_name
def test_a_closed_loop_that_a_child_still_holds_swallows_nothing(loop_name):
    """The child keeps the old loop's descriptors; a new loop serves the same socket."""
    old, listening = loops.new(loop_name), Listening()
    old.run_until_complete(listening.serve(old))
    child = Child()
    kept = listening.listener.dup()
    listening.server.close()
    old.run_until_complete(kit.turns())
    old.close()
    listening.listener = kept
    new = loops.new(loop_name)
    new.run_until_complete(listening.serve(new))
    new.run_until_complete(all_served(listening))
    child.end()
    new.run_until_complete(all_served(listening))
    listening.server.close()
    new.run_until_complete(listening.over())
    new.run_until_complete(new.shutdown_default_executor())
    new.close()


def in_thread(function, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


def test_a_loop_that_moves_to_another_thread_misses_no_connection(
        run, loop, listening):
    async def served():
        """What came while nobody ran the loop, and what comes now."""
        assert await kit.blocking(listening.clients[-1].recv, 100) == b"first"
        await all_served(listening, 5)
        return True

    run(listening.serve(loop))
    for number in range(6):
        listening.connect(1)
        if number % 2:
            assert in_thread(run, served())
        else:
            assert run(served())
    listening.server.close()
    listening.forget_clients()
    run(listening.over())
