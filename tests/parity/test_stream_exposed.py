"""A descriptor that has left the transport, through get_extra_info("socket").

Bytes that a program sends itself on the descriptor come behind all it has written.
"""

import asyncio
import gc
import os
import pickle
import socket
import weakref
from asyncio import trsock

import pytest

from .endpoints import PEER_SECONDS, Recorder, wired
from .framework import promise

# See conftest.py.
GATHERS_WRITES = True

ITERATIONS = 8

# What hands the descriptor out: after each, nothing may be held back any more.
EXPOSING = {
    "fileno": lambda sock: sock.fileno(),
    "dup": lambda sock: sock.dup().close(),
    "_sock": lambda sock: sock._sock,
    "repr": repr,
}
# What only has to come behind the writes.
ORDERED = {
    "setsockopt": lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "getsockopt": lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "shutdown": lambda s: s.shutdown(socket.SHUT_WR),
}
# What tells nothing of the stream: the habit of writing in pieces survives.
HARMLESS = {
    "family": lambda sock: sock.family,
    "type": lambda sock: sock.type,
    "proto": lambda sock: sock.proto,
    "getpeername": lambda sock: sock.getpeername(),
    "getsockname": lambda sock: sock.getsockname(),
    "get_inheritable": lambda sock: sock.get_inheritable(),
    "gettimeout": lambda sock: sock.gettimeout(),
}


async def habitual(loop, trace):
    """A transport that writes in pieces, its peer, and the socket for users."""
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, "tcp", protocol)
    for _ in range(ITERATIONS):
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
    peer.settimeout(PEER_SECONDS)
    await asyncio.sleep(0)
    drain(peer, 9 * ITERATIONS)
    return transport, peer, transport.get_extra_info("socket")


def drain(peer, size):
    while size:
        size -= len(peer.recv(size))


async def over(transport, peer):
    transport.abort()
    await transport.get_protocol().happens("connection_lost")
    peer.close()


def there(peer):
    peer.setblocking(False)
    try:
        return peer.recv(1000)
    except BlockingIOError:
        return b""


async def is_held(transport, peer):
    """Does a first piece wait for the next? Tried often: a busy machine may have
    stopped the process for so long that the habit was lost."""
    for _ in range(40 * ITERATIONS):
        transport.write(b"head ")
        held = there(peer) == b""
        transport.write(b"body")
        await asyncio.sleep(0)
        while there(peer):
            pass
        if held:
            return True
    return False


@pytest.mark.parametrize("name", EXPOSING)
@promise
async def test_whoever_gets_the_descriptor_finds_all_sent(loop, trace, name):
    transport, peer, sock = await habitual(loop, trace)
    transport.write(b"head ")
    EXPOSING[name](sock)
    assert there(peer) == b"head "
    assert not await is_held(transport, peer)
    await over(transport, peer)


@pytest.mark.parametrize("name", ORDERED)
@promise
async def test_what_concerns_the_stream_comes_behind_it(loop, trace, name):
    transport, peer, sock = await habitual(loop, trace)
    assert await is_held(transport, peer)
    transport.write(b"head ")
    ORDERED[name](sock)
    assert there(peer) == b"head "
    await over(transport, peer)


@pytest.mark.parametrize("name", HARMLESS)
@promise
async def test_harmless_questions_change_nothing(loop, trace, name):
    transport, peer, sock = await habitual(loop, trace)
    HARMLESS[name](sock)
    assert await is_held(transport, peer)
    await over(transport, peer)


@promise
async def test_a_number_that_was_kept_stays_usable(loop, trace):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, "tcp", protocol)
    number = transport.get_extra_info("socket").fileno()
    for _ in range(3 * ITERATIONS):
        transport.write(b"head ")
        transport.write(b"body ")
        os.write(number, b"past the transport")
        await asyncio.sleep(0)
        expected = b"head body past the transport"
        got = b""
        while len(got) < len(expected):
            got += peer.recv(len(expected) - len(got))
        assert got == expected
    await over(transport, peer)


@promise
async def test_it_is_asyncios_transport_socket(loop, trace):
    transport, peer, sock = await habitual(loop, trace)
    assert isinstance(sock, trsock.TransportSocket)
    assert transport.get_extra_info("socket") is sock
    # A method of a newer asyncio would have to be looked at here.
    known = {*EXPOSING, *ORDERED, *HARMLESS, "settimeout", "setblocking",
             "getsockbyname"}
    assert {n for n in vars(trsock.TransportSocket) if not n.startswith("_")} <= known
    with pytest.raises(TypeError):
        pickle.dumps(sock)
    await over(transport, peer)
    # It may outlive its transport, and does not keep it alive.
    gone = weakref.ref(transport)
    del transport
    gc.collect()
    assert gone() is None
    assert sock.fileno() == -1
