"""Bytes that a program sends itself on a transport's descriptor keep their place.

On asyncio a transport whose buffer is empty has handed everything to the kernel when
write() returns. So programs send a header by write() and the body by sendfile(2), by a
socket's own send(), or from another process, on the descriptor they asked for.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile

import pytest

from . import kit

HEADER = b"first piece, second piece, "
BODY = b"the body."
ROUNDS = 12
COMPANY = 8


def by_sendfile(number):
    with tempfile.TemporaryFile() as file:
        file.write(BODY)
        file.flush()
        assert os.sendfile(number, file.fileno(), 0, len(BODY)) == len(BODY)


def by_os_write(number):
    os.write(number, BODY)


def by_socket_send(number):
    with socket.socket(fileno=os.dup(number)) as copy:
        copy.sendall(BODY)


def by_another_process(number):
    source = f"import os; os.write({number}, {BODY!r})"
    subprocess.run([sys.executable, "-S", "-c", source], pass_fds=[number], check=True)


SENDERS = {f.__name__: f for f in (by_sendfile, by_os_write, by_socket_send)}


class Server(asyncio.Protocol):
    """Answers each request by a header in two writes, and the body past them."""

    def __init__(self, send, asks):
        self.send = send
        self.asks = asks

    def connection_made(self, transport):
        self.transport = transport
        self.cached = transport.get_extra_info("socket").fileno()

    def data_received(self, data):
        for _ in data:
            self.transport.write(HEADER[:13])
            self.transport.write(HEADER[13:])
            number = self.cached
            if self.asks == "each time":
                number = self.transport.get_extra_info("socket").fileno()
            self.send(number)


async def exchange(loop, send, asks, clients, rounds=ROUNDS):
    """All answers that the clients got, each client asking `rounds` times."""
    server = await loop.create_server(lambda: Server(send, asks), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    streams = [await asyncio.open_connection(*address) for _ in range(clients)]
    answers = []
    for _ in range(rounds):
        # In one callback, so that the server hears of all in one iteration.
        for _, writer in streams:
            writer.write(b"x")
        for reader, _ in streams:
            answers.append(await reader.readexactly(len(HEADER + BODY)))
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return answers


@pytest.mark.parametrize("clients", [1, COMPANY])
@pytest.mark.parametrize("asks", ["each time", "once"])
@pytest.mark.parametrize("sender", SENDERS)
def test_the_body_follows_the_header(run, loop, sender, asks, clients):
    answers = run(exchange(loop, SENDERS[sender], asks, clients))
    assert answers == [HEADER + BODY] * (clients * ROUNDS)


def test_the_body_from_another_process_follows_the_header(run, loop):
    answers = run(exchange(loop, by_another_process, "each time", 2, rounds=3))
    assert answers == [HEADER + BODY] * 6


def test_a_send_in_a_later_callback_follows_the_header(run, loop):
    """With other work ready in between, and the descriptor asked for long before."""

    async def main():
        transport, _, far = await kit.wired(loop, "tcp")
        number = transport.get_extra_info("socket").fileno()
        answers = []
        for _ in range(ROUNDS):
            loop.call_soon(transport.write, HEADER[:13])
            loop.call_soon(transport.write, HEADER[13:])
            loop.call_soon(by_os_write, number)
            await kit.turns()
            answers.append(await kit.blocking(
                kit.read_exactly, far, len(HEADER + BODY)))
        transport.abort()
        far.close()
        await kit.turns()
        return answers

    assert run(main()) == [HEADER + BODY] * ROUNDS


def test_a_passed_descriptor_follows_the_header(run, loop):
    """The descriptor goes through a socket pair (SCM_RIGHTS), as servers hand over."""

    async def main():
        transport, _, far = await kit.wired(loop, "tcp")
        one, two = socket.socketpair()
        for _ in range(ROUNDS):
            transport.write(HEADER[:13])
            transport.write(HEADER[13:])
            number = transport.get_extra_info("socket").fileno()
            socket.send_fds(one, [b"x"], [number])
        for _ in range(ROUNDS):
            _, (received,), _, _ = socket.recv_fds(two, 1, 1)
            os.close(received)
        by_os_write(number)
        data = await kit.blocking(kit.read_exactly, far, len(HEADER * ROUNDS + BODY))
        transport.abort()
        for sock in (one, two, far):
            sock.close()
        await kit.turns()
        return data

    assert run(main()) == HEADER * ROUNDS + BODY
