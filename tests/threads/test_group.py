"""IOThreadGroup: work goes to the least loaded thread, and all serve one address."""

import asyncio
import collections
import errno
import resource
import socket
import ssl
import threading

import pytest

from uring_loop import IOThreadGroup

from tests.slowness import PATIENCE_SECONDS

from ..parity.certificates import NAME, client_context, server_context
from .conftest import chosen

SECONDS = PATIENCE_SECONDS
CONNECTIONS = 24


@pytest.fixture(params=["defer", "epoll"])
def options(request, no_leaks):
    """How the ring gets its completions makes no difference to a group."""
    return chosen(request.param)


@pytest.fixture
def group(options):
    with IOThreadGroup(3, "shard", **options) as group:
        yield group


@pytest.fixture(params=["each listens", "one accepts", "unix path", "socket given"])
def place(request, tmp_path):
    """Where to listen, as keywords; each way to spread connections."""
    if request.param == "unix path":
        return {"path": str(tmp_path / "socket")}
    if request.param == "socket given":
        return {"sock": socket.create_server(("127.0.0.1", 0))}
    return {"host": "127.0.0.1", "port": 0,
            "reuse_port": None if request.param == "each listens" else False}


class Named(asyncio.Protocol):
    """Answers with the name of the thread that serves the connection."""

    ended = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(threading.current_thread().name.encode())

    def connection_lost(self, exc):
        if self.ended is not None:
            self.ended.append(threading.current_thread().name)


def connect(address, context=None):
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    client = socket.socket(kind)
    client.settimeout(SECONDS)
    try:
        client.connect(address)
        if context is not None:
            client = context.wrap_socket(client, server_hostname=NAME)
    except BaseException:
        client.close()
        raise
    return client


def ask(client):
    client.sendall(b"who?")
    return client.recv(100).decode()


def closed(clients):
    for client in clients:
        client.close()


# ---- work -----------------------------------------------------------------------


def test_threads_have_names_numbers_and_loops_of_their_own(group):
    assert [t.name for t in group.threads] == ["shard-0", "shard-1", "shard-2"]
    assert len({t.native_id for t in group.threads}) == 3
    assert len({id(t.loop) for t in group.threads}) == 3
    assert repr(group).count("running") == 3


def test_work_goes_to_the_least_loaded(group):
    gates = [asyncio.Event() for _ in range(6)]
    waiting = [group.run_on_least_loaded(gate.wait()) for gate in gates]
    assert [thread.load for thread in group.threads] == [2, 2, 2]
    # The loop of a gate is known once it is waited for.
    homes = [next(t for t in group.threads if f in t._unfinished) for f in waiting]
    for home, gate in zip(homes, gates):
        if home is group.threads[1]:
            home.submit(gate.set).result(SECONDS)

    async def where():
        return threading.current_thread().name

    assert group.run_on_least_loaded(where()).result(SECONDS) == "shard-1"
    for home, gate in zip(homes, gates):
        home.submit(gate.set)
    assert [f.result(SECONDS) for f in waiting] == [True] * 6


def test_equals_take_turns(group):
    async def where():
        return threading.current_thread().name

    names = [group.run_on_least_loaded(where()).result(SECONDS) for _ in range(30)]
    assert set(names) == {"shard-0", "shard-1", "shard-2"}


def test_a_thread_that_has_ended_gets_no_more_work(group):
    group.threads[1].stop()
    group.threads[1].join(SECONDS)
    names = [group.run_on_least_loaded(asyncio.sleep(0, n)) for n in range(12)]
    assert [f.result(SECONDS) for f in names] == list(range(12))


# ---- servers --------------------------------------------------------------------


def test_all_threads_serve(group, place):
    server = group.create_server(Named, **place).result(SECONDS)
    [address] = server.addresses
    clients = [connect(address) for _ in range(CONNECTIONS)]
    names = collections.Counter(map(ask, clients))
    assert set(names) == {"shard-0", "shard-1", "shard-2"}
    # Always in the thread that has it.
    assert collections.Counter(map(ask, clients)) == names
    assert f"{address} in 3 threads" in repr(server)
    loads = {t.name: t.submit(lambda t=t: t.load).result(SECONDS) - 1
             for t in group.threads}
    assert loads == names
    closed(clients)
    server.close().result(SECONDS)
    assert [t.submit(lambda t=t: t.load).result(SECONDS)
            for t in group.threads] == [1, 1, 1]
    with pytest.raises(OSError):
        connect(address)


def test_handed_out_connections_are_spread_evenly(group):
    server = group.create_server(
        Named, "127.0.0.1", 0, reuse_port=False).result(SECONDS)
    clients, names = [], collections.Counter()
    for _ in range(CONNECTIONS):
        clients.append(connect(server.addresses[0]))
        names[ask(clients[-1])] += 1
    assert names == {f"shard-{n}": CONNECTIONS / 3 for n in range(3)}
    closed(clients)


def test_streams(group, place):
    async def talk(reader, writer):
        line = await reader.readline()
        writer.write(line + threading.current_thread().name.encode() + b"\n")
        await writer.drain()
        writer.close()

    server = group.start_server(talk, limit=100, **place).result(SECONDS)
    for _ in range(CONNECTIONS):
        with connect(server.addresses[0]) as client, client.makefile("rb") as file:
            client.sendall(b"hello\n")
            assert file.readline() == b"hello\n"
            assert file.readline().startswith(b"shard-")
            assert file.read() == b""


def test_tls(group, place):
    server = group.create_server(
        Named, ssl=server_context(), ssl_handshake_timeout=SECONDS,
        **place).result(SECONDS)
    clients = [connect(server.addresses[0], client_context()) for _ in range(6)]
    assert all(ask(client).startswith("shard-") for client in clients)
    closed(clients)
    server.close(SECONDS).result(2 * SECONDS)


def test_both_families_of_a_host(group):
    server = group.create_server(Named, None, 0).result(SECONDS)
    assert len(server.addresses) == 2
    for address in server.addresses:
        with socket.create_connection(address[:2], SECONDS) as client:
            assert ask(client).startswith("shard-")


def test_an_address_in_use_is_the_futures_error(group):
    with socket.create_server(("127.0.0.1", 0)) as other:
        future = group.create_server(Named, *other.getsockname())
        with pytest.raises(OSError) as caught:
            future.result(SECONDS)
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("wrong", [
    {}, {"path": "socket", "host": "127.0.0.1"}, {"path": "socket", "reuse_port": True},
    {"host": "127.0.0.1", "port": 0, "ssl_handshake_timeout": 1}])
def test_wrong_arguments_are_refused(group, wrong):
    with pytest.raises(ValueError):
        group.create_server(Named, **wrong).result(SECONDS)


def test_nothing_listens_if_one_thread_cannot(group, monkeypatch):
    """The second copy of the socket meets a full table: the others are undone."""
    import uring_loop.threads.sharded_server as module

    original, copies = module.listener_like, []

    def refuse_second(sock):
        copies.append(original(sock))
        if len(copies) == 2:
            copies[-1].close()
            raise OSError(errno.EMFILE, "Too many open files")
        return copies[-1]

    monkeypatch.setattr(module, "listener_like", refuse_second)
    future = group.create_server(Named, "127.0.0.1", 0)
    with pytest.raises(OSError) as caught:
        future.result(SECONDS)
    assert caught.value.errno == errno.EMFILE
    assert [copy.fileno() for copy in copies] == [-1] * 3


# ---- their end ------------------------------------------------------------------


def test_close_leaves_connections_and_waits_for_them(group, place):
    server = group.create_server(Named, **place).result(SECONDS)
    clients = [connect(server.addresses[0]) for _ in range(6)]
    names = [ask(client) for client in clients]
    done = server.close()
    assert [ask(client) for client in clients] == names
    assert not done.done()
    closed(clients)
    done.result(SECONDS)
    server.close().result(SECONDS)


def test_connections_that_stay_too_long_are_aborted(group, place):
    server = group.create_server(Named, **place).result(SECONDS)
    clients = [connect(server.addresses[0]) for _ in range(6)]
    names = [ask(client) for client in clients]
    patient = server.close()
    server.close(0.01).result(SECONDS)
    patient.result(SECONDS)
    assert len(names) == 6
    for client in clients:
        assert client.recv(1) == b""
    closed(clients)


def test_the_end_of_the_block_ends_listeners_and_connections(options, place):
    class Counted(Named):
        ended = []

    with IOThreadGroup(3, **options) as group:
        server = group.create_server(Counted, **place).result(SECONDS)
        clients = [connect(server.addresses[0]) for _ in range(6)]
        assert sum(len(ask(client)) > 0 for client in clients) == 6
    assert len(Counted.ended) == 6
    for client in clients:
        assert client.recv(1) == b""
    closed(clients)
    with pytest.raises(OSError):
        connect(server.addresses[0])


def test_a_graceful_stop_lets_connections_end(options, place):
    group = IOThreadGroup(3, **options)
    server = group.create_server(Named, **place).result(SECONDS)
    with connect(server.addresses[0]) as client:
        name = ask(client)
        group.stop(grace_seconds=None)
        assert ask(client) == name
        with pytest.raises(TimeoutError):
            group.join(0.01)
    group.join(SECONDS)
    assert {thread.state for thread in group.threads} == {"stopped"}


def test_an_impatient_stop_overrides_a_graceful_one(options, place):
    group = IOThreadGroup(3, **options)
    server = group.create_server(Named, **place).result(SECONDS)
    with connect(server.addresses[0]) as client:
        assert ask(client)
        group.stop(grace_seconds=None)
        group.stop()
        group.join(SECONDS)
        assert client.recv(1) == b""


def test_accepting_goes_on_after_descriptors_ran_out(options, monkeypatch):
    """The thread that accepts reports EMFILE once, pauses, and serves who waited."""
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.05)
    reports, reported = [], threading.Event()

    def note(loop, context):
        reports.append(context["exception"].errno)
        reported.set()

    with IOThreadGroup(2, **options) as group:
        server = group.create_server(
            Named, "127.0.0.1", 0, reuse_port=False).result(SECONDS)
        group.threads[0].loop.set_exception_handler(note)
        # Blocking: under such a limit, poll(2) of a timeout is refused, too.
        client = socket.socket()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            client.connect(server.addresses[0])
            assert reported.wait(SECONDS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        client.settimeout(SECONDS)
        assert ask(client).startswith("IOThreadGroup-")
        client.close()
    assert set(reports) == {errno.EMFILE}


def test_what_ends_one_thread_is_raised_when_all_have_ended(options, caplog):
    with pytest.raises(SystemExit) as caught:
        with IOThreadGroup(3, **options) as group:
            group.threads[1].submit(exit, 5)
    assert caught.value.code == 5
    assert {thread.state for thread in group.threads} == {"stopped"}


def test_async_with(options):
    async def main():
        async with IOThreadGroup(2, **options) as group:
            future = group.create_server(Named, "127.0.0.1", 0)
            server = await asyncio.wrap_future(future)
            reader, writer = await asyncio.open_connection(*server.addresses[0])
            writer.write(b"who?")
            name = await reader.read(100)
            writer.close()
            await writer.wait_closed()
        return name

    assert asyncio.run(main()).startswith(b"IOThreadGroup-")


def test_a_tls_client_that_says_nothing_does_not_hold_a_graceful_stop(options):
    """A connection whose handshake never comes is aborted like the others."""
    group = IOThreadGroup(2, **options)
    server = group.create_server(
        Named, "127.0.0.1", 0, ssl=server_context(), reuse_port=False).result(SECONDS)
    with connect(server.addresses[0]) as client:
        group.stop(grace_seconds=0.05)
        group.join(SECONDS)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client_context().wrap_socket(client, server_hostname=NAME)
