"""sock_*() with families of sockets that few programs use."""

import asyncio
import os
import socket
import struct

import pytest

from . import kit

RTM_GETLINK, NLM_F_REQUEST_DUMP, NLMSG_DONE = 18, 0x301, 3
ETH_P_ALL = 3
VSOCK_HOST = 2
NOBODY_PORT = 54321


def opened(family, kind, protocol=0):
    """A socket of the family; a skip where this machine has none."""
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as exc:
        pytest.skip(f"no {family!r} socket here: {exc}")
    sock.setblocking(False)
    return sock


@pytest.mark.skipif(not os.path.exists("/dev/vsock"), reason="no vsock device here")
@pytest.mark.parametrize("cid", [1, VSOCK_HOST])
def test_vsock_connect_to_nobody_is_an_error(run, loop, cid):
    """Whatever the kernel says, a socket that is not connected is not a success."""

    async def main():
        with opened(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
            await loop.sock_connect(sock, (cid, NOBODY_PORT))

    with pytest.raises(OSError):
        run(main())


def test_seqpacket_keeps_the_borders_of_messages(run, loop):
    async def main():
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            receiving = asyncio.ensure_future(loop.sock_recv(near, 100))
            await kit.turns()
            for message in (b"one", b"two", b"three"):
                await loop.sock_sendall(far, message)
            got = [await receiving]
            got += [await loop.sock_recv(near, 100) for _ in range(2)]
            far.close()
            return [*got, await loop.sock_recv(near, 100)]

    assert run(main()) == [b"one", b"two", b"three", b""]


def test_seqpacket_connects_and_accepts(run, loop):
    async def main():
        listener = opened(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client = opened(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with listener, client:
            listener.bind("")
            listener.listen()
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await kit.turns()
            await loop.sock_connect(client, listener.getsockname())
            accepted, _ = await accepting
            with accepted:
                await loop.sock_sendall(client, b"message")
                return await loop.sock_recv(accepted, 100)

    assert run(main()) == b"message"


def test_netlink_answers_with_the_links(run, loop):
    async def main():
        sock = opened(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        with sock:
            sock.bind((0, 0))
            waiting = asyncio.ensure_future(loop.sock_recv(sock, 1 << 16))
            await kit.turns()
            body = struct.pack("BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
            await loop.sock_sendall(sock, struct.pack(
                "IHHII", 16 + len(body), RTM_GETLINK, NLM_F_REQUEST_DUMP, 1, 0) + body)
            data = await waiting
            while struct.unpack_from("IH", data, last_message(data))[1] != NLMSG_DONE:
                data += await loop.sock_recv(sock, 1 << 16)
            return data

    assert b"lo\0" in run(main())


def last_message(data):
    """Where the last message of a netlink answer begins."""
    begin = position = 0
    while position < len(data):
        begin = position
        position += (struct.unpack_from("I", data, position)[0] + 3) & ~3
    return begin


@pytest.mark.skipif(os.geteuid() != 0, reason="packet sockets are root's")
@pytest.mark.parametrize("call", ["sock_recv", "sock_recvfrom"])
def test_packet_socket_hears_a_datagram(run, loop, call):
    async def main():
        sock = opened(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sock.bind(("lo", 0))
            hearing = asyncio.ensure_future(hear(sock))
            await kit.turns()
            sender.sendto(b"a datagram to listen to", ("127.0.0.1", NOBODY_PORT))
            await hearing

    async def hear(sock):
        # Other programs talk on the loopback as well.
        data = b""
        while b"a datagram to listen to" not in data:
            data = await getattr(loop, call)(sock, 1 << 16)
            data = data if isinstance(data, bytes) else data[0]

    run(main())
