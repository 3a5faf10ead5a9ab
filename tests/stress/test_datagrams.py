"""Datagrams of every size, in floods, and while the loop changes its thread."""

import asyncio
import socket
import threading

import pytest

import uring_loop

FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}
# Largest payloads that the loopback carries, by family.
LARGEST = {"IPv4": 65507, "IPv6": 65527}


class Keeper(asyncio.DatagramProtocol):
    def __init__(self):
        self.kept = []
        self.errors = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.kept.append((data, address))

    def error_received(self, exc):
        self.errors.append(exc)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


async def keep(host):
    loop = asyncio.get_running_loop()
    transport, keeper = await loop.create_datagram_endpoint(
        Keeper, local_addr=(host, 0))
    return transport, keeper


async def has(keeper, count):
    while len(keeper.kept) < count:
        await asyncio.sleep(0)


async def end(transport, keeper):
    transport.close()
    assert await keeper.lost is None
    assert keeper.errors == []


@pytest.mark.parametrize("name", FAMILIES)
def test_every_size_arrives_whole(run, name):
    family, host = FAMILIES[name]
    sizes = [0, 1, 511, 512, 16_383, 16_384, 16_385, 40_000, LARGEST[name]]

    async def main():
        transport, keeper = await keep(host)
        to = transport.get_extra_info("sockname")
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
            for count, size in enumerate(sizes, 1):
                sock.sendto(bytes([count]) * size, to)
                await has(keeper, count)
            expected = [(bytes([count]) * size, sock.getsockname())
                        for count, size in enumerate(sizes, 1)]
        assert keeper.kept == expected
        await end(transport, keeper)

    run(main())


def test_a_flood_into_a_loop_that_does_not_look(run):
    """More than there are buffers: what finds none stays in the socket, in order."""
    count = 200

    async def main():
        transport, keeper = await keep("127.0.0.1")
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for number in range(count):
                sock.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        await has(keeper, count)
        assert [int(data) for data, _ in keeper.kept] == list(range(count))
        await end(transport, keeper)

    run(main())


def test_more_peers_than_are_remembered(run):
    """Each datagram comes with its own sender's address, and is answered there."""
    peers = 3000

    async def main():
        transport, keeper = await keep("127.0.0.1")
        to = transport.get_extra_info("sockname")
        names = []
        for number in range(peers):
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                # Another host each time, since ports are used again.
                sock.bind((f"127.0.{number >> 8}.{1 + (number & 127)}", 0))
                sock.sendto(b"?", to)
                names.append(sock.getsockname())
                await has(keeper, number + 1)
                transport.sendto(b"!", names[-1])
                sock.setblocking(False)
                assert sock.recvfrom(10) == (b"!", to)
        assert [address for _, address in keeper.kept] == names
        await end(transport, keeper)

    run(main())


@pytest.mark.parametrize("taskrun", ["defer", "coop"])
def test_an_endpoint_moves_with_its_loop(taskrun):
    loop = uring_loop.new_event_loop(backend="io_uring", taskrun=taskrun)
    transport, keeper = loop.run_until_complete(keep("127.0.0.1"))
    to = transport.get_extra_info("sockname")

    def in_thread(coroutine):
        thread = threading.Thread(target=loop.run_until_complete, args=(coroutine,))
        thread.start()
        thread.join()

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for count in range(1, 9):
            sock.sendto(b"%d" % count, to)
            (in_thread if count % 2 else loop.run_until_complete)(has(keeper, count))
    assert [data for data, _ in keeper.kept] == [b"%d" % n for n in range(1, 9)]
    loop.run_until_complete(end(transport, keeper))
    loop.close()
