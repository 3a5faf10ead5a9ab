"""What any thread may call of an IOThreadGroup: every pair of it at the same time."""

import asyncio
import concurrent.futures
import socket
import threading

import pytest

import uring_loop

from .test_races import at_the_same_time, repeated

ROUNDS = 6
ADDRESS = ("127.0.0.1", 0)


@pytest.fixture
def group(options):
    with uring_loop.IOThreadGroup(2, **options) as group:
        yield group


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


async def greet(reader, writer):
    writer.write(b"hello")
    writer.close()


def connect(server):
    with socket.create_connection(server.addresses[0]) as client:
        data = client.makefile("rb").read()
    if not data:
        raise ConnectionAbortedError("the server has been stopped")
    assert data == b"hello"


def run_coroutine(group):
    assert group.run_on_least_loaded(asyncio.sleep(0, "done")).result() == "done"


def serve_with_protocols(group):
    server = group.create_server(Greeter, *ADDRESS).result()
    connect(server)
    server.close().result()


def serve_with_streams(group):
    """One thread accepts for all."""
    server = group.start_server(greet, *ADDRESS, reuse_port=False).result()
    connect(server)
    server.close(grace_seconds=0)
    server.close().result()


def look(group):
    assert repr(group).count("running") == 2
    assert all(thread.load >= 0 for thread in group.threads)


CALLS = (run_coroutine, serve_with_protocols, serve_with_streams, look)


@pytest.mark.parametrize("first", CALLS, ids=lambda call: call.__name__)
def test_pairs_of_calls_from_two_threads(group, first):
    for second in CALLS:
        at_the_same_time(repeated(first, group), repeated(second, group))


@pytest.mark.parametrize("call", CALLS[:3], ids=lambda call: call.__name__)
def test_stop_comes_while_others_call(options, call):
    """What a server listened with is closed, whether or not its caller got it."""
    for _ in range(ROUNDS):
        group = uring_loop.IOThreadGroup(2, **options)
        begun = threading.Event()

        def until_refused():
            while True:
                try:
                    call(group)
                # ConnectionError: what listened has just been closed.
                except (RuntimeError, ConnectionError,
                        concurrent.futures.CancelledError):
                    return
                finally:
                    begun.set()

        def stop():
            begun.wait()
            group.stop()

        at_the_same_time(until_refused, until_refused, stop, group.join)
        group.join()


def test_two_threads_stop_and_join(options):
    for _ in range(ROUNDS):
        group = uring_loop.IOThreadGroup(2, **options)
        server = group.create_server(Greeter, *ADDRESS).result()
        connect(server)
        at_the_same_time(group.stop, group.stop, group.join, group.join)
        assert [thread.state for thread in group.threads] == ["stopped"] * 2
