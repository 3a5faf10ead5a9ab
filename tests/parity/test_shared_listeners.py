"""Listening sockets that others hold, too: other loops, processes, and the program."""

import asyncio
import contextlib
import os
import signal
import socket
import threading

import pytest

from tests.slowness import PATIENCE_SECONDS

from . import loops
from .endpoints import in_thread, settle
from .framework import parity, promise

SECONDS = PATIENCE_SECONDS
OURS = [name for name in loops.under_test() if name in loops.OURS]
CONNECTIONS = 400


@contextlib.contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


class Answer(asyncio.Protocol):
    """Says who it is and ends the connection."""

    def __init__(self, name):
        self.name = name

    def connection_made(self, transport):
        transport.write(self.name)
        transport.close()


def ask(address):
    with socket.create_connection(address, timeout=SECONDS) as client:
        return client.recv(100)


def ask_often(address, count):
    return [ask(address) for _ in range(count)]


@parity
async def test_a_given_socket_that_the_program_closes_refuses(loop, trace):
    with listening() as sock:
        address = sock.getsockname()
        server = await loop.create_server(lambda: Answer(b"x"), sock=sock)
        trace("served", await in_thread(loop, ask, address))
        sock.close()
        with socket.socket() as client:
            trace("connect", client.connect_ex(address))
        with socket.create_server(address):
            trace("the port is free")
        trace.call("close", server.close)


@parity
async def test_what_was_not_announced_stays_for_the_other_owners(loop, trace):
    with listening() as sock, sock.dup() as other, contextlib.ExitStack() as stack:
        server = await loop.create_server(lambda: Answer(b"x"), sock=sock)
        trace("served", await in_thread(loop, ask, sock.getsockname()))

        def connect():
            for _ in range(3):
                stack.enter_context(socket.create_connection(other.getsockname()))
            loop.call_soon(server.close)

        loop.call_soon(connect)
        while server.is_serving():
            await asyncio.sleep(0)
        other.settimeout(SECONDS)
        for _ in range(3):
            stack.enter_context(other.accept()[0])
            trace("left in the backlog")


@promise
async def test_a_number_of_a_closed_listener_serves_another_file(loop, trace):
    """A listener that is closed while its duplicate gets a connection accepts nothing,
    least of all from the file that has its number now."""
    with listening() as sock, sock.dup() as other:
        address = sock.getsockname()
        server = await loop.create_server(lambda: Answer(b"the closed one"), sock=sock)
        await settle(loop)
        sock.close()
        with listening() as next_one, socket.create_connection(address):
            assert next_one.getsockname() != address
            with socket.create_connection(next_one.getsockname()):
                await settle(loop)
                accepted, _ = next_one.accept()
                accepted.close()
            other.settimeout(SECONDS)
            accepted, _ = other.accept()
            accepted.close()
        with contextlib.suppress(ValueError):
            server.close()


@promise
async def test_a_forked_child_that_holds_the_listener_swallows_nothing(loop, trace):
    with listening() as sock:
        server = await loop.create_server(lambda: Answer(b"the parent"), sock=sock)
        await settle(loop)
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        try:
            answers = await in_thread(loop, ask_often, sock.getsockname(), 50)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert answers == [b"the parent"] * 50
        server.close()


@promise
async def test_a_rival_that_has_gone_costs_no_connection(loop, trace):
    """A listener that gives way takes the connection all the same in the end."""
    with listening() as sock, sock.dup() as rival:
        address = sock.getsockname()
        server = await loop.create_server(lambda: Answer(b"served"), sock=sock)
        for _ in range(5):
            # Taken while the loop is in this very callback: a wake-up in vain.
            await settle(loop)
            client = socket.create_connection(address)
            rival.accept()[0].close()
            client.close()
        answers = await in_thread(loop, ask_often, address, 100)
        assert answers == [b"served"] * 100
        server.close()


def serve_in_child(loop_name, sock):
    child = os.fork()
    if child:
        return child
    try:
        loop = loops.new(loop_name)
        name = b"%d" % os.getpid()
        loop.run_until_complete(loop.create_server(lambda: Answer(name), sock=sock))
        loop.run_forever()
    finally:
        os._exit(1)


def serve_in_thread(loop_name, sock):
    loop = loops.new(loop_name)
    name = b"%d" % id(loop)

    def run():
        server = loop.run_until_complete(
            loop.create_server(lambda: Answer(name), sock=sock))
        loop.run_forever()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    return name, loop, thread


def assert_nobody_is_left_out(address, names):
    """In the best of three rounds: a busy machine may keep a process from running."""
    rounds = []
    for _ in range(3):
        answers = ask_often(address, CONNECTIONS)
        rounds.append([answers.count(name) for name in names])
        assert sum(rounds[-1]) == CONNECTIONS
        if min(rounds[-1]) >= CONNECTIONS // 4:
            return
    pytest.fail(f"connections of each worker: {rounds}")


@pytest.mark.parametrize("loop_name", OURS)
def test_two_processes_share_connections_that_come_one_by_one(loop_name):
    with listening() as sock:
        children = [serve_in_child(loop_name, sock) for _ in range(2)]
        try:
            names = [b"%d" % child for child in children]
            assert_nobody_is_left_out(sock.getsockname(), names)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


@pytest.mark.parametrize("loop_name", OURS)
def test_two_threads_share_connections_that_come_one_by_one(loop_name):
    with listening() as sock, sock.dup() as other:
        workers = [serve_in_thread(loop_name, each) for each in (sock, other)]
        try:
            assert_nobody_is_left_out(sock.getsockname(), [w[0] for w in workers])
        finally:
            for _, loop, thread in workers:
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
