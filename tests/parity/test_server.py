"""Servers: their arguments, their states, their addresses, and how they end."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
import tempfile
import warnings

import pytest

from .endpoints import Recorder, connecting, in_thread, settle
from .framework import parity, stock_leaks_a_socket

since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="came with 3.12")
since_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="came with 3.13")


async def close(server):
    server.close()
    await server.wait_closed()


@contextlib.contextmanager
def listening_socket(*, listen=True):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if listen:
            sock.listen()
        yield sock


@stock_leaks_a_socket
@parity
async def test_wrong_arguments_of_create_server(loop, trace):
    async def attempt(label, *args, **kwargs):
        await trace.wait(label, loop.create_server(asyncio.Protocol, *args, **kwargs))

    datagram = socket.socket(type=socket.SOCK_DGRAM)
    with datagram, listening_socket() as sock:
        await attempt("nothing")
        await attempt("ssl as a flag", "127.0.0.1", 0, ssl=True)
        await attempt("ssl as text", "127.0.0.1", 0, ssl="x")
        await attempt("host and sock", "127.0.0.1", 0, sock=sock)
        await attempt("port and sock", port=0, sock=sock)
        await attempt("a datagram socket", sock=datagram)
        await attempt("handshake without ssl", "127.0.0.1", 0, ssl_handshake_timeout=1)
        await attempt("shutdown without ssl", "127.0.0.1", 0, ssl_shutdown_timeout=1)
        await attempt("an address in use", *sock.getsockname())
        await attempt("a foreign address", "192.0.2.1", 0)
        await attempt("no host of that name", "name.invalid", 0)
        await attempt("sock is text", sock="x")


@parity
async def test_wrong_arguments_of_create_unix_server(loop, trace):
    async def attempt(label, *args, **kwargs):
        made = loop.create_unix_server(asyncio.Protocol, *args, **kwargs)
        await trace.wait(label, made)

    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with datagram, listening_socket() as tcp, tempfile.TemporaryDirectory(
        prefix="parity-"
    ) as folder:
        path = os.path.join(folder, "a file")
        with open(path, "w", encoding="utf-8"):
            pass
        await attempt("nothing")
        await attempt("path and sock", path, sock=datagram)
        await attempt("a datagram socket", sock=datagram)
        await attempt("a TCP socket", sock=tcp)
        await attempt("ssl as a flag", path, ssl=True)
        await attempt("handshake without ssl", path, ssl_handshake_timeout=1)
        await attempt("a plain file", path)
        await attempt("no such folder", os.path.join(folder, "none", "x"))
        await attempt("too long", "x" * 200)


@parity
async def test_the_states_of_a_server(loop, trace):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    trace("serving", server.is_serving(), len(server.sockets))
    trace("its loop", server.get_loop() is loop)
    trace("isinstance", isinstance(server, asyncio.AbstractServer),
          isinstance(server, asyncio.base_events.Server))
    await server.start_serving()
    await close(server)
    trace("serving", server.is_serving(), len(server.sockets))
    await trace.wait("start again", server.start_serving())
    await trace.wait("forever", server.serve_forever())
    server.close()
    await server.wait_closed()


@parity
async def test_a_server_that_starts_later(loop, trace):
    server = await loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, start_serving=False
    )
    trace("serving", server.is_serving())
    address = server.sockets[0].getsockname()
    refused = connecting(loop, "tcp", asyncio.Protocol, address)
    await trace.wait("connect", refused)
    await server.start_serving()
    trace("serving", server.is_serving())
    protocol = Recorder(trace.lane("client"))
    transport, _ = await connecting(loop, "tcp", lambda: protocol, address)
    transport.abort()
    await protocol.happens("connection_lost")
    await close(server)


@parity
async def test_serve_forever_ends_by_cancelling(loop, trace):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    await trace.wait("twice", server.serve_forever())
    serving.cancel()
    await asyncio.wait([serving])
    trace("cancelled", serving.cancelled(), server.is_serving())


@parity
async def test_a_server_as_a_context(loop, trace):
    async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
        trace("serving", server.is_serving())
    trace("serving", server.is_serving(), len(server.sockets))


@parity
async def test_the_sockets_of_a_server(loop, trace):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    sock = server.sockets[0]
    trace("type", type(server.sockets), type(sock).__name__)
    trace("options", sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
          sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT), sock.gettimeout())
    await close(server)
    trace("fileno after close", sock.fileno())


@parity
async def test_options_of_create_server(loop, trace):
    server = await loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, reuse_address=False, reuse_port=True,
        backlog=3,
    )
    sock = server.sockets[0]
    trace("options", sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
          sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
    await close(server)


@parity
async def test_hosts_of_a_server(loop, trace):
    for hosts in ("127.0.0.1", ["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "127.0.0.1"],
                  "::1"):
        made = loop.create_server(asyncio.Protocol, hosts, 0)
        try:
            server = await made
        except OSError as exc:
            trace("hosts", hosts, type(exc), exc.errno)  # a machine without IPv6
            continue
        trace("hosts", hosts, sorted(s.getsockname()[0] for s in server.sockets))
        await close(server)


@parity
async def test_a_given_socket_serves(loop, trace):
    for listen in (True, False):
        with listening_socket(listen=listen) as sock:
            server = await loop.create_server(
                lambda: Recorder(trace.lane("server")), sock=sock
            )
            trace("blocking", sock.gettimeout())
            protocol = Recorder(trace.lane("client"))
            transport, _ = await connecting(
                loop, "tcp", lambda: protocol, sock.getsockname()
            )
            transport.write_eof()
            await protocol.happens("connection_lost")
            await close(server)
            trace("fileno after close", sock.fileno())


def connect_many(address, count):
    return [socket.create_connection(address) for _ in range(count)]


@parity
async def test_a_burst_of_connections_is_accepted(loop, trace):
    protocols = []

    def factory():
        protocols.append(Recorder(trace.lane(f"server {len(protocols)}")))
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=100)
    address = server.sockets[0].getsockname()
    peers = await in_thread(loop, connect_many, address, 150)
    while len(protocols) < 150:
        await settle(loop)
    trace("accepted", len(protocols))
    for peer in peers:
        peer.close()
    for protocol in protocols:
        await protocol.happens("connection_lost")
    await close(server)


@parity
async def test_close_refuses_new_connections(loop, trace):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    server.close()
    await settle(loop)
    await trace.wait("connect", connecting(loop, "tcp", asyncio.Protocol, address))
    await server.wait_closed()


@parity
async def test_close_keeps_the_connections(loop, trace):
    served = Recorder(trace.lane("server"))
    server = await loop.create_server(lambda: served, "127.0.0.1", 0)
    client = Recorder(trace.lane("client"))
    address = server.sockets[0].getsockname()
    transport, _ = await connecting(loop, "tcp", lambda: client, address)
    await served.happens("connection_made")
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    await settle(loop)
    trace("waits for its connections", not waiting.done())
    transport.write(b"still served")
    await served.receives(12)
    transport.close()
    await served.happens("connection_lost")
    await waiting
    await client.happens("connection_lost")


@since_3_13
@pytest.mark.parametrize("action", ["close_clients", "abort_clients"])
@parity
async def test_ending_all_clients(loop, trace, action):
    protocols = []

    def factory():
        protocols.append(Recorder(trace.lane(f"server {len(protocols)}")))
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = []
    for number in range(3):
        client = Recorder(trace.lane(f"client {number}"))
        await connecting(loop, "tcp", lambda: client, address)
        clients.append(client)
    while len(protocols) < 3:
        await settle(loop)
    server.close()
    getattr(server, action)()
    for protocol in protocols + clients:
        await protocol.happens("connection_lost")
    await server.wait_closed()
    trace("done")


@parity
async def test_the_path_of_a_unix_server(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "socket")
        server = await loop.create_unix_server(asyncio.Protocol, path)
        trace("a socket", stat.S_ISSOCK(os.stat(path).st_mode))
        await close(server)
        trace("left after close", os.path.exists(path))
        # A socket that an earlier server left is replaced.
        with socket.socket(socket.AF_UNIX) as stale:
            if os.path.exists(path):
                os.unlink(path)
            stale.bind(path)
        server = await loop.create_unix_server(asyncio.Protocol, path)
        trace("serving", server.is_serving())
        await close(server)


@parity
async def test_an_abstract_unix_address(loop, trace):
    path = "\0parity-%d" % os.getpid()
    server = await loop.create_unix_server(
        lambda: Recorder(trace.lane("server")), path
    )
    client = Recorder(trace.lane("client"))
    transport, _ = await connecting(loop, "unix", lambda: client, path)
    transport.write_eof()
    await client.happens("connection_lost")
    await close(server)


@since_3_13
@parity
async def test_cleanup_of_the_path_can_be_declined(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        for cleanup in (True, False):
            path = os.path.join(folder, f"socket {cleanup}")
            server = await loop.create_unix_server(
                asyncio.Protocol, path, cleanup_socket=cleanup
            )
            await close(server)
            trace("left", cleanup, os.path.exists(path))


@since_3_12
@parity
async def test_wait_closed_before_close(loop, trace):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    waiting = asyncio.ensure_future(server.wait_closed())
    await asyncio.sleep(0)
    trace("returned at once", waiting.done())
    server.close()
    await waiting


@parity
def test_a_server_of_a_closed_loop(loop, trace):
    server = loop.run_until_complete(
        loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    )
    server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    trace.call("close again", server.close)
    coroutine = loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    trace.call("another", loop.run_until_complete, coroutine)
    coroutine.close()


@parity
def test_a_listener_that_nobody_closed_ends_with_its_loop(loop, trace):
    server = loop.run_until_complete(
        loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    )
    address = server.sockets[0].getsockname()
    del server
    with warnings.catch_warnings(), socket.socket() as client:
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        trace("connect", errno.errorcode[client.connect_ex(address)])
