"""A loop whose thread or process has changed under it goes on, or says why not."""

import asyncio
import os
import socket
import threading

import pytest

import uring_loop

from ..parity.endpoints import as_made_by_the_loop


@pytest.fixture(params=["defer", "coop"])
def loop(request):
    loop = uring_loop.new_event_loop(backend="io_uring", taskrun=request.param)
    yield loop
    loop.close()


def in_thread(loop, coro):
    """Run it on the loop in a thread that has ended when this returns."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(loop.run_until_complete(coro)))
    thread.start()
    thread.join()
    return results[0]


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def ask(loop, address, message):
    async def client():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(message)
        answer = await reader.readexactly(len(message))
        writer.close()
        await writer.wait_closed()
        return answer

    return loop.run_until_complete(client())


async def served(loop):
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


async def closed(server):
    server.close()
    await server.wait_closed()


def test_a_listener_outlives_the_thread_that_started_it(loop):
    server, address = in_thread(loop, served(loop))
    # This one comes while nobody runs the loop and its first thread is gone.
    with socket.create_connection(address) as early:
        assert ask(loop, address, b"later") == b"later"
        early.sendall(b"early")
        assert loop.run_until_complete(
            loop.run_in_executor(None, early.recv, 5)) == b"early"
    assert in_thread(loop, loop.create_task(asyncio.sleep(0, "moved"))) == "moved"
    assert ask(loop, address, b"again") == b"again"
    loop.run_until_complete(closed(server))


def test_open_connections_move_with_the_loop(loop):
    near, far = socket.socketpair()
    sent = bytes(range(256)) * 64

    async def connect():
        return await as_made_by_the_loop(loop, near, Echo())

    transport, _ = in_thread(loop, connect())
    received = b""
    for number in range(8):
        far.sendall(sent)
        reading = loop.run_in_executor(None, read_exactly, far, len(sent))
        if number % 2:
            received += in_thread(loop, reading)
        else:
            received += loop.run_until_complete(reading)
    assert received == sent * 8
    transport.abort()
    loop.run_until_complete(asyncio.sleep(0))
    far.close()


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        data += sock.recv(count - len(data))
    return data


@pytest.mark.parametrize("debug", [False, True])
def test_a_forked_child_that_returns_to_the_loop_is_told(loop, debug):
    def fork():
        forked.append(os.fork())
        loop.stop()

    forked = []
    loop.set_debug(debug)
    loop.call_soon(fork)
    try:
        loop.run_forever()
    except RuntimeError as exc:
        if forked == [0]:
            os._exit(0 if "fork" in str(exc) else 1)
        raise
    finally:
        if forked == [0]:
            # Without an error the child may leave, too, but not touch the ring.
            os._exit(0)
    _, status = os.waitpid(forked[0], 0)
    assert status == 0
    assert loop.run_until_complete(asyncio.sleep(0, "parent")) == "parent"


def test_a_fork_in_a_buffered_protocol_is_survived(loop):
    class Forking(asyncio.BufferedProtocol):
        child = None

        def get_buffer(self, sizehint):
            self.memory = bytearray(8)
            return self.memory

        def buffer_updated(self, nbytes):
            if self.child is None:
                self.child = os.fork()

    near, far = socket.socketpair()

    async def main():
        _, protocol = await as_made_by_the_loop(loop, near, Forking())
        far.sendall(bytes(64))
        while protocol.child is None:
            await asyncio.sleep(0)
        return protocol

    try:
        protocol = loop.run_until_complete(main())
    except RuntimeError as exc:
        os._exit(0 if "fork" in str(exc) else 1)
    assert protocol.child, "the child came back from the loop"
    _, status = os.waitpid(protocol.child, 0)
    assert status == 0
    protocol = None
    far.close()
    loop.run_until_complete(asyncio.sleep(0.01))


@pytest.mark.parametrize("backend", ["io_uring", "epoll", "auto"])
def test_without_an_eventfd_there_is_an_error_and_nothing_left(
        monkeypatch, no_leaks, backend):
    def refuse(*args):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "eventfd", refuse)
    with pytest.raises(PermissionError):
        uring_loop.new_event_loop(backend=backend)
