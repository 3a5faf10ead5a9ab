"""Makes one connection of a transport and a plain socket, in each way there is."""

import asyncio
import os
import socket
import tempfile

from .stream_ends import Connection
from .world import check

KERNEL_BYTES = 4096
TRIES = 20


def connect(world, number, wanted):
    """A Connection whose connection_made() has been called."""
    connection = Connection(world, number, wanted)
    for _ in range(TRIES):
        try:
            world.run(WAYS[wanted["made"]](world.loop, connection))
            break
        except (OSError, asyncio.TimeoutError):
            # A fault of accept() or connect(): a program would try again, too.
            check(world.driver == "chaos", "cannot connect")
            connection.clear()
    check(connection.transport is not None, "cannot connect")
    connection.peer.setblocking(False)
    for end in (connection.peer, connection.transport.get_extra_info("socket")):
        if wanted["tiny"]:
            # Not SO_RCVBUF: TCP would wait for 0.2 s each time that it is full.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    return connection


async def connected(loop, connection):
    """The loop connects, a plain socket accepts."""
    with listening(connection.wanted["family"]) as listener:
        address = listener.getsockname()
        if connection.wanted["family"] == "unix":
            await loop.create_unix_connection(connection.protocol, address)
        else:
            await loop.create_connection(connection.protocol, *address)
        connection.peer, _ = listener.accept()
        forget_path(listener)


async def accepted(loop, connection):
    """A plain socket connects to the loop's server, which is closed then."""
    listener = listening(connection.wanted["family"])
    server = await loop.create_server(connection.protocol, sock=listener)
    connection.peer = peer = socket.socket(listener.family)
    peer.setblocking(False)
    peer.connect_ex(listener.getsockname())
    try:
        for _ in range(200):
            if connection.transport is not None:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError
    finally:
        forget_path(listener)
        server.close()


async def given(loop, connection):
    """The user has made both ends."""
    near, connection.peer = socket.socketpair()
    try:
        await loop.create_connection(connection.protocol, sock=near)
    except BaseException:
        near.close()
        raise


WAYS = {"connected": connected, "accepted": accepted, "given": given}


def listening(family):
    if family != "unix":
        return socket.create_server(("127.0.0.1", 0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(tempfile.mktemp(prefix="chaos-"))
    listener.listen()
    return listener


def forget_path(listener):
    if listener.family == socket.AF_UNIX:
        os.unlink(listener.getsockname())
