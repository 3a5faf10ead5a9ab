"""create_connection and create_unix_connection: arguments, failures, cancelling."""

import asyncio
import contextlib
import socket
import sys

import pytest

from .endpoints import Recorder, connected_sockets, connecting, serving, settle, wired
from .framework import parity

since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="came with 3.12")


def closed_port():
    """A port on which nobody listens: taken, then given back."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@parity
async def test_wrong_arguments(loop, trace):
    async def attempt(label, *args, **kwargs):
        made = loop.create_connection(asyncio.Protocol, *args, **kwargs)
        await trace.wait(label, made)

    datagram = socket.socket(type=socket.SOCK_DGRAM)
    near, far = socket.socketpair()
    with near, far, datagram:
        await attempt("nothing")
        await attempt("host and sock", "127.0.0.1", 1, sock=near)
        await attempt("port and sock", port=1, sock=near)
        await attempt("a datagram socket", sock=datagram)
        await attempt("a name without ssl", "127.0.0.1", 1, server_hostname="x")
        await attempt("ssl without a name", ssl=True, sock=near)
        await attempt("handshake without ssl", "127.0.0.1", 1, ssl_handshake_timeout=1)
        await attempt("shutdown without ssl", "127.0.0.1", 1, ssl_shutdown_timeout=1)
        await attempt("no host of that name", "name.invalid", 1)
        foreign = ("192.0.2.1", 0)
        await attempt("a wrong local address", "127.0.0.1", 1, local_addr=foreign)
        await attempt("negative delay", "127.0.0.1", 1, happy_eyeballs_delay=-1)


@parity
async def test_hosts_and_ports_of_all_kinds(loop, trace):
    port = closed_port()
    for host in ("127.0.0.1", "::1", b"127.0.0.1", "127.0.0.1\0", "::1%lo", "", 5):
        for given in (port, str(port), -1, 70_000, None, "no such service", 1.5):
            made = loop.create_connection(asyncio.Protocol, host, given)
            try:
                transport, _ = await made
            except (OSError, ValueError, TypeError, OverflowError) as exc:
                text = str(exc).replace(str(port), "PORT")
                trace(repr(host), repr(given).replace(str(port), "PORT"),
                      type(exc).__name__, text)
            else:
                transport.abort()
                trace("connected")


@parity
async def test_a_step_of_ones_own_is_taken(loop, trace):
    async with serving(loop, "tcp", lambda: Recorder(trace.lane("server"))) as address:
        async def sock_connect(sock, given):
            trace("asked", given == address[:2], sock.gettimeout())
            raise OSError("not here")

        loop.sock_connect = sock_connect
        try:
            await loop.create_connection(asyncio.Protocol, *address[:2])
        except OSError as exc:
            trace("refused", str(exc))
        finally:
            del loop.sock_connect


@parity
async def test_wrong_arguments_on_unix(loop, trace):
    async def attempt(label, *args, **kwargs):
        made = loop.create_unix_connection(asyncio.Protocol, *args, **kwargs)
        await trace.wait(label, made)

    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    near, far = socket.socketpair()
    tcp = socket.socket()
    with near, far, datagram, tcp:
        await attempt("nothing")
        await attempt("path and sock", "/tmp/parity-none/x", sock=near)
        await attempt("a datagram socket", sock=datagram)
        await attempt("a TCP socket", sock=tcp)
        await attempt("server_hostname without ssl", sock=near, server_hostname="x")
        await attempt("ssl without a name", ssl=True, sock=near)
        await attempt("handshake without ssl", sock=near, ssl_handshake_timeout=1)
        await attempt("nobody there", "/tmp/parity-none/x")


@parity
async def test_a_closed_port_refuses(loop, trace):
    address = ("127.0.0.1", closed_port())
    for _ in range(3):
        await trace.wait("connect", connecting(loop, "tcp", asyncio.Protocol, address))


@parity
async def test_many_addresses_that_all_refuse(loop, trace):
    port = closed_port()

    async def resolve(*args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port))
            for n in (1, 2, 3)
        ]

    loop.getaddrinfo = resolve
    for options in ({}, {"happy_eyeballs_delay": 0.01},
                    {"happy_eyeballs_delay": 0.01, "interleave": 1}):
        made = loop.create_connection(asyncio.Protocol, "name", port, **options)
        await trace.wait("connect", made)


@since_3_12
@parity
async def test_all_errors_are_given_when_asked_for(loop, trace):
    port = closed_port()

    async def resolve(*args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port))
            for n in (1, 2)
        ]

    loop.getaddrinfo = resolve
    try:
        await loop.create_connection(asyncio.Protocol, "name", port, all_errors=True)
    except ExceptionGroup as group:
        trace("group", group.exceptions)


@parity
async def test_the_second_address_answers(loop, trace):
    port = closed_port()
    async with serving(loop, "tcp", asyncio.Protocol) as address:

        async def resolve(*args, **kwargs):
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", address),
            ]

        loop.getaddrinfo = resolve
        for options in ({}, {"happy_eyeballs_delay": 0.01}):
            protocol = Recorder(trace.lane("client"))
            transport, _ = await loop.create_connection(
                lambda: protocol, "name", 1, **options
            )
            peername = transport.get_extra_info("peername")
            trace("connected to the second", peername == address)
            transport.close()
            await protocol.happens("connection_lost")


@parity
async def test_no_addresses_at_all(loop, trace):
    async def resolve(*args, **kwargs):
        return []

    loop.getaddrinfo = resolve
    await trace.wait("connect", loop.create_connection(asyncio.Protocol, "name", 1))


@parity
async def test_local_addresses(loop, trace):
    async with serving(loop, "tcp", asyncio.Protocol) as address:
        protocol = Recorder(trace.lane("client"))
        transport, _ = await loop.create_connection(
            lambda: protocol, *address, local_addr=("127.0.0.9", 0)
        )
        trace("bound to", transport.get_extra_info("sockname")[0])
        transport.close()
        await protocol.happens("connection_lost")


@parity
async def test_a_given_socket_is_used(loop, trace):
    for family in ("tcp", "unix"):
        near, far = connected_sockets(family)
        protocol = Recorder(trace.lane(family))
        made = (loop.create_connection if family == "tcp"
                else loop.create_unix_connection)(lambda: protocol, sock=near)
        transport, returned = await made
        trace("the protocol", returned is protocol, near.gettimeout())
        far.send(b"x")
        await protocol.receives(1)
        transport.close()
        await protocol.happens("connection_lost")
        trace("fileno after the end", near.fileno())
        far.close()


@parity
async def test_a_given_socket_is_closed_when_the_connector_is_cancelled(loop, trace):
    for family in ("tcp", "unix"):
        near, far = connected_sockets(family)
        connect = (loop.create_connection if family == "tcp"
                   else loop.create_unix_connection)
        task = loop.create_task(connect(asyncio.Protocol, sock=near))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        trace("fileno as soon as that is known", near.fileno())
        far.close()


@parity
async def test_who_comes_behind_connection_lost_finds_the_socket_closed(loop, trace):
    for family in ("tcp", "unix"):
        for end in ("close", "abort"):
            transport, far = await wired(loop, family, asyncio.Protocol())
            sock = transport.get_extra_info("socket")
            getattr(transport, end)()
            loop.call_soon(lambda: trace(end, sock.fileno()))
            await settle(loop)
            far.close()


@parity
async def test_connection_made_comes_before_the_connector_returns(loop, trace):
    async with serving(loop, "tcp", asyncio.Protocol) as address:
        protocol = Recorder(trace)
        loop.call_soon(trace, "a callback in between")
        transport, _ = await connecting(loop, "tcp", lambda: protocol, address)
        trace("returned")
        transport.close()
        await protocol.happens("connection_lost")


@contextlib.contextmanager
def full_listener():
    """A listener whose queue is full: a connection attempt stays pending."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        while True:
            sock = socket.socket()
            sock.setblocking(False)
            waiting.append(sock)
            sock.connect_ex(listener.getsockname())
            if len(waiting) >= 4:
                break
        try:
            yield listener.getsockname()
        finally:
            for sock in waiting:
                sock.close()


@parity
async def test_a_cancelled_attempt_leaves_nothing(loop, trace):
    with full_listener() as address:
        made = connecting(loop, "tcp", asyncio.Protocol, address)
        attempt = asyncio.ensure_future(made)
        await settle(loop)
        trace("pending", not attempt.done())
        attempt.cancel()
        await asyncio.wait([attempt])
        trace("cancelled", attempt.cancelled())


@parity
async def test_an_attempt_that_times_out(loop, trace):
    with full_listener() as address:
        made = connecting(loop, "tcp", asyncio.Protocol, address)
        await trace.wait("attempt", asyncio.wait_for(made, 0.01))


@parity
async def test_a_number_reused_after_a_cancelled_attempt(loop, trace):
    """The descriptor of the dead attempt must not be served for the new socket."""
    with full_listener() as address:
        made = connecting(loop, "tcp", asyncio.Protocol, address)
        attempt = asyncio.ensure_future(made)
        await settle(loop)
        attempt.cancel()
        await asyncio.wait([attempt])
        near, far = socket.socketpair()
        protocol = Recorder(trace.lane("client"))
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=near)
        far.send(b"for the new socket")
        await protocol.receives(18)
        transport.write(b"answer")
        trace("peer got", far.recv(100))
        transport.close()
        await protocol.happens("connection_lost")
        far.close()


@parity
async def test_connect_accepted_socket(loop, trace):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    protocol = Recorder(trace.lane("accepted"))
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, near)
    far.send(b"hello")
    await protocol.receives(5)
    transport.close()
    await protocol.happens("connection_lost")
    far.close()
    datagram = socket.socket(type=socket.SOCK_DGRAM)
    with datagram:
        made = loop.connect_accepted_socket(asyncio.Protocol, datagram)
        await trace.wait("a datagram socket", made)


@parity
async def test_getaddrinfo_and_getnameinfo(loop, trace):
    found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    trace("found", [entry[4] for entry in found])
    await trace.wait("name", loop.getnameinfo(("127.0.0.1", 80), 3))
    await trace.wait("nobody", loop.getaddrinfo("name.invalid", 80))
