"""Methods of transports and watches, called in another thread than the loop's.

They change structures that the loop's thread changes at the same time. Without a GIL
they raise asyncio's RuntimeError and change nothing; with one they work.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading

import pytest
import trustme

import uring_loop

from .test_races import FREE_THREADED, at_the_same_time

STREAM = {
    "write": lambda transport: transport.write(b"x"),
    "write a bytearray": lambda transport: transport.write(bytearray(b"x")),
    "writelines": lambda transport: transport.writelines([b"x", b"y"]),
    "write_eof": lambda transport: transport.write_eof(),
    "pause_reading": lambda transport: transport.pause_reading(),
    "resume_reading": lambda transport: transport.resume_reading(),
    "set_protocol": lambda transport: transport.set_protocol(asyncio.Protocol()),
    "set_write_buffer_limits": lambda transport: transport.set_write_buffer_limits(9),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
}
TLS = {name: call for name, call in STREAM.items()
       if name not in ("write_eof", "set_protocol", "set_write_buffer_limits")}
WATCHES = {
    "add_reader": lambda loop, sock: loop.add_reader(sock, int),
    "add_writer": lambda loop, sock: loop.add_writer(sock, int),
    "remove_reader": lambda loop, sock: loop.remove_reader(sock),
    "remove_writer": lambda loop, sock: loop.remove_writer(sock),
}


def refused():
    """What a call in the wrong thread ends with."""
    if FREE_THREADED:
        return pytest.raises(RuntimeError, match="Non-thread-safe operation")
    return contextlib.nullcontext()


def each(calls):
    return pytest.mark.parametrize("call", calls.values(), ids=calls)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Counting(Echo):
    received = 0

    def data_received(self, data):
        self.received += len(data)


@pytest.fixture
def thread(options):
    with uring_loop.IOThread(**options) as thread:
        yield thread


async def connected(**options):
    """(transport, peer), both of this loop. The peer answers what it gets."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    peer = asyncio.ensure_future(loop.connect_accepted_socket(
        Echo, theirs, ssl=options.pop("server_ssl", None)))
    transport, _ = await loop.create_connection(Counting, sock=ours, **options)
    return transport, (await peer)[0]


async def end(*transports):
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


@each(STREAM)
def test_method_of_a_stream(thread, call):
    transport, peer = thread.run(connected()).result()
    thread.submit(transport.pause_reading).result()
    limits = thread.submit(transport.get_write_buffer_limits).result()
    with refused():
        call(transport)
    if FREE_THREADED:
        assert thread.submit(transport.get_write_buffer_limits).result() == limits
    thread.run(end(transport, peer)).result()


@each(TLS)
def test_method_of_a_tls_connection(thread, call):
    authority = trustme.CA()
    server, client = (ssl.SSLContext(protocol) for protocol in (
        ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    authority.issue_cert("name").configure_cert(server)
    authority.configure_trust(client)
    transport, peer = thread.run(connected(
        server_ssl=server, ssl=client, server_hostname="name")).result()
    with refused():
        call(transport)
    thread.run(end(transport, peer)).result()


def test_sendto(thread):
    async def endpoint():
        loop = asyncio.get_running_loop()
        return (await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)))[0]

    transport = thread.run(endpoint()).result()
    with refused():
        transport.sendto(b"x", transport.get_extra_info("sockname"))
    thread.run(end(transport)).result()


def test_write_to_a_pipe(thread):
    async def pipe():
        loop = asyncio.get_running_loop()
        _, writing = socket.socketpair()
        return (await loop.connect_write_pipe(asyncio.BaseProtocol, writing))[0], _

    transport, reading = thread.run(pipe()).result()
    with refused():
        transport.write(b"x")
    thread.run(end(transport)).result()
    reading.close()


@each(WATCHES)
def test_watch(thread, call):
    with contextlib.closing(socket.socket()) as sock:
        thread.submit(thread.loop.add_reader, sock, int).result()
        with refused():
            call(thread.loop, sock)
        for name in ("remove_reader", "remove_writer"):
            thread.submit(getattr(thread.loop, name), sock).result()


@pytest.mark.skipif(not FREE_THREADED, reason="with a GIL these calls take effect")
def test_nothing_is_changed_while_the_loop_works(thread):
    """Two threads call what they must not while the loop serves the connection."""
    transport, peer = thread.run(connected()).result()
    done = threading.Event()

    async def work():
        protocol = transport.get_protocol()
        while not done.is_set():
            protocol.received = 0
            for _ in range(100):
                transport.write(b"message")
            while protocol.received < 700:
                await asyncio.sleep(0)

    def call():
        for _ in range(200):
            for method in STREAM.values():
                with refused():
                    method(transport)

    working = thread.run(work())
    at_the_same_time(call, call)
    done.set()
    working.result()
    assert not transport.is_closing()
    thread.run(end(transport, peer)).result()


class Closing(socket.socket):
    """Knows the threads that have closed it."""

    def close(self):
        self.closed_by.append(threading.get_native_id())
        super().close()


# By a mark: a thread inherits the filters that are set when it starts.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_transport_that_another_thread_collects(thread):
    """Its socket is closed by the loop's thread."""
    closed_by = []

    async def unclosed():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours = Closing(fileno=ours.detach())
        ours.closed_by = closed_by
        ours.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.pause_reading()
        # Let the loop forget what it has done with the transport.
        await asyncio.sleep(0)
        ring = [transport]
        ring.append(ring)
        return theirs

    theirs = thread.run(unclosed()).result()
    while not closed_by:
        gc.collect()
        thread.submit(int).result()
    if FREE_THREADED:
        assert closed_by[0] == thread.native_id
    theirs.close()
