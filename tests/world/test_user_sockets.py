"""A user's own sockets: whoever closes one while the loop waits for it is obeyed.

The loop waits for a user's socket without holding its file, so that a close() in
another task reaches the peer at once, as on asyncio, where the waiting task is told
nothing and has to be cancelled.
"""

import asyncio
import os
import socket

import pytest

from . import kit
from .kit import MUCH, PAIRS, every_pair

SYN_SENT, LISTEN = "02", "0A"


async def closed_while_waiting(sock, coroutine):
    """Close the socket while a task waits for it; that task, still waiting."""
    waiting = asyncio.ensure_future(coroutine)
    await kit.turns()
    assert not waiting.done()
    sock.close()
    await kit.turns()
    return waiting


async def waiter_is_treated_as_by_asyncio(waiting):
    """It is not told, and a cancel ends it."""
    await kit.turns()
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


RECEIVES = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 100),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(100)),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 100),
}


@every_pair
@pytest.mark.parametrize("call", RECEIVES)
def test_close_while_a_receive_waits(run, loop, family, call):
    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        waiting = await closed_while_waiting(near, RECEIVES[call](loop, near))
        with far:
            assert await kit.blocking(far.recv, 10) == b""
        await waiter_is_treated_as_by_asyncio(waiting)

    run(main())


@every_pair
def test_close_while_sock_sendall_waits(run, loop, family):
    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        waiting = await closed_while_waiting(
            near, loop.sock_sendall(near, bytes(MUCH)))
        with far:
            assert len(await kit.blocking(kit.read_all, far)) < MUCH
        await waiter_is_treated_as_by_asyncio(waiting)

    run(main())


def test_close_while_sock_accept_waits(run, loop):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        address = listener.getsockname()
        waiting = await closed_while_waiting(listener, loop.sock_accept(listener))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, kit.PEER_SECONDS)
        # The port is free, and connections are the new listener's.
        with socket.create_server(address) as again:
            kit.with_timeout(again)
            with socket.create_connection(address, kit.PEER_SECONDS):
                again.accept()[0].close()
        await waiter_is_treated_as_by_asyncio(waiting)

    run(main())


def tcp_sockets():
    with open("/proc/net/tcp") as file:
        return [line.split() for line in file]


def connecting_to(port):
    """How many sockets of this machine are in the middle of connecting to the port."""
    return sum(line[2].endswith(f":{port:04X}") and line[3] == SYN_SENT
               for line in tcp_sockets())


def in_backlog(port):
    """How many connections wait to be accepted there."""
    return sum(int(line[4].partition(":")[2], 16) for line in tcp_sockets()
               if line[1].endswith(f":{port:04X}") and line[3] == LISTEN)


def test_close_while_sock_connect_waits(run, loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            address = listener.getsockname()
            # One more than the backlog fits; the kernel hears of the last step later.
            fillers = [socket.create_connection(address, kit.PEER_SECONDS)
                       for _ in range(2)]
            while in_backlog(address[1]) < len(fillers):
                await asyncio.sleep(0.001)
            sock = socket.socket()
            sock.setblocking(False)
            waiting = asyncio.ensure_future(loop.sock_connect(sock, address))
            await kit.turns()
            assert connecting_to(address[1]) == 1
            sock.close()
            await kit.turns()
            assert connecting_to(address[1]) == 0
            for filler in fillers:
                filler.close()
        await waiter_is_treated_as_by_asyncio(waiting)

    run(main())


def test_close_while_a_datagram_is_waited_for(run, loop):
    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        address = sock.getsockname()
        waiting = await closed_while_waiting(sock, loop.sock_recvfrom(sock, 100))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)
        await waiter_is_treated_as_by_asyncio(waiting)

    run(main())


# ---- sockets that were given to the loop, and closed by their owner -----------------


def test_listener_given_to_create_server_and_closed(run, loop):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        server = await loop.create_server(kit.Recorder, sock=listener)
        await kit.turns()
        listener.close()
        await kit.turns()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, kit.PEER_SECONDS)
        socket.create_server(address).close()
        try:
            server.close()
        except ValueError:
            pass    # asyncio asks the closed socket for its descriptor

    run(main())


@every_pair
def test_stream_given_to_create_connection_and_closed(run, loop, family):
    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        transport, _ = await loop.create_connection(kit.Recorder, sock=near)
        await kit.turns()
        number = near.fileno()
        near.close()
        with far:
            assert await kit.blocking(far.recv, 10) == b""
        # Whoever has the number now is not touched when the transport ends.
        one, two = kit.unix_pair()
        assert number in (one.fileno(), two.fileno())
        transport.abort()
        await kit.turns()
        with one, two:
            one.sendall(b"untouched")
            assert two.recv(100) == b"untouched"
            two.sendall(b"both ways")
            assert one.recv(100) == b"both ways"

    run(main())


def test_socket_given_to_create_datagram_endpoint_and_closed(run, loop):
    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, sock=sock)
        await kit.turns()
        sock.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)
            transport.abort()
            await kit.turns()
            again.sendto(b"to itself", address)
            assert again.recv(100) == b"to itself"

    run(main())


# ---- numbers that are used again ----------------------------------------------------


async def receive(loop, sock, far, data):
    """The data comes while sock_recv waits: through the kernel's readiness."""
    waiting = asyncio.ensure_future(loop.sock_recv(sock, 100))
    await kit.turns()
    far.sendall(data)
    return await asyncio.wait_for(waiting, kit.PEER_SECONDS)


@every_pair
def test_a_number_that_is_used_again_after_close(run, loop, family):
    async def main():
        numbers, got = set(), []
        for round_ in range(4):
            near, far = PAIRS[family]()
            near.setblocking(False)
            numbers.add(near.fileno())
            got.append(await receive(loop, near, far, b"round %d" % round_))
            near.close()
            far.close()
        return numbers, got

    numbers, got = run(main())
    assert got == [b"round %d" % round_ for round_ in range(4)]
    assert len(numbers) < 4, "no number was used again"


@pytest.mark.parametrize("call", ["sock_recv", "add_reader"])
@every_pair
def test_dup2_over_a_descriptor_that_was_waited_for(run, loop, family, call):
    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        if call == "sock_recv":
            assert await receive(loop, near, far, b"first") == b"first"
        else:
            seen = asyncio.Event()
            loop.add_reader(near.fileno(), seen.set)
            far.sendall(b"first")
            await seen.wait()
            loop.remove_reader(near.fileno())
            assert near.recv(100) == b"first"
        other, other_far = PAIRS[family]()
        os.dup2(other.fileno(), near.fileno())
        os.set_blocking(near.fileno(), False)
        with near, far, other, other_far:
            assert await receive(loop, near, other_far, b"second") == b"second"
            # The first connection's only descriptor was replaced.
            assert far.recv(10) == b""

    run(main())


@every_pair
def test_dup2_while_the_old_file_lives_on_in_a_duplicate(run, loop, family):
    """What comes for the old file is not taken for a report about the new one."""

    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        assert await receive(loop, near, far, b"first") == b"first"
        kept = near.dup()
        other, other_far = PAIRS[family]()
        os.dup2(other.fileno(), near.fileno())
        os.set_blocking(near.fileno(), False)
        with near, far, kept, other, other_far:
            waiting = asyncio.ensure_future(loop.sock_recv(near, 100))
            await kit.turns()
            far.sendall(b"for the old file")
            assert await kit.quiet_iterations(loop) < kit.QUIET_ITERATIONS
            assert not waiting.done()
            other_far.sendall(b"second")
            assert await asyncio.wait_for(waiting, kit.PEER_SECONDS) == b"second"
            assert kept.recv(100) == b"for the old file"

    run(main())


@kit.ours_only
@pytest.mark.parametrize("used", ["waits", "has waited"])
@every_pair
def test_a_closed_socket_that_lives_on_in_a_child(run, loop, family, used):
    """epoll's own trap: the closed descriptor's registration goes on reporting and can
    no longer be taken out. asyncio spins there; our loops do not."""

    async def main():
        near, far = PAIRS[family]()
        near.setblocking(False)
        assert await receive(loop, near, far, b"first") == b"first"
        waiting = None
        if used == "waits":
            waiting = asyncio.ensure_future(loop.sock_recv(near, 100))
            await kit.turns()
        child = await asyncio.create_subprocess_exec(
            "cat", pass_fds=[near.fileno()], stdin=asyncio.subprocess.PIPE)
        number = near.fileno()
        near.close()
        one, two = kit.unix_pair()
        one.setblocking(False)
        with far, one, two:
            assert number in (one.fileno(), two.fileno())
            again = asyncio.ensure_future(loop.sock_recv(one, 100))
            far.sendall(b"for the child")
            assert await kit.quiet_iterations(loop) < kit.QUIET_ITERATIONS
            assert not again.done()
            two.sendall(b"second")
            assert await asyncio.wait_for(again, kit.PEER_SECONDS) == b"second"
            assert await kit.quiet_iterations(loop) < kit.QUIET_ITERATIONS
        if waiting is not None:
            await kit.gone(waiting)
        child.stdin.close()
        assert await child.wait() == 0

    run(main())
