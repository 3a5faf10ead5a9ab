"""sock_recv, sock_sendall, sock_connect, sock_accept and their datagram relatives."""

import asyncio
import contextlib
import socket
import ssl

from .endpoints import (
    KERNEL_BYTES, PEER_SECONDS, in_thread, pattern, read_exactly, settle)
from .framework import parity

BIG = 4 << 20


@contextlib.contextmanager
def pair(kind=socket.SOCK_STREAM):
    """Two ends: ours for the loop, theirs for the body."""
    near, far = socket.socketpair(socket.AF_UNIX, kind)
    near.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    far.settimeout(PEER_SECONDS)
    with near, far:
        yield near, far


@contextlib.contextmanager
def udp_pair():
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(
        type=socket.SOCK_DGRAM
    ) as far:
        for sock in (near, far):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield near, far


@parity
async def test_receiving_what_is_there(loop, trace):
    with pair() as (near, far):
        far.send(b"0123456789")
        await trace.wait("four", loop.sock_recv(near, 4))
        buffer = bytearray(10)
        await trace.wait("into", loop.sock_recv_into(near, buffer))
        trace("buffer", buffer)
        far.shutdown(1)
        await trace.wait("end", loop.sock_recv(near, 4))
        await trace.wait("end into", loop.sock_recv_into(near, buffer))


@parity
async def test_receiving_what_comes_later(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        trace("waits", not reading.done())
        far.send(b"later")
        await trace.wait("read", reading)


@parity
async def test_receiving_nothing(loop, trace):
    with pair() as (near, far):
        far.send(b"x")
        await trace.wait("zero", loop.sock_recv(near, 0))
        await trace.wait("into nothing", loop.sock_recv_into(near, bytearray()))
        await trace.wait("still there", loop.sock_recv(near, 10))


@parity
async def test_sending_all(loop, trace):
    with pair() as (near, far):
        await trace.wait("nothing", loop.sock_sendall(near, b""))
        await trace.wait("little", loop.sock_sendall(near, b"little"))
        await trace.wait("bytearray", loop.sock_sendall(near, bytearray(b" array")))
        await trace.wait("view", loop.sock_sendall(near, memoryview(b" view!")[:5]))
        trace("peer got", far.recv(100))
        data = pattern(BIG)
        reading = in_thread(loop, read_exactly, far, BIG)
        await trace.wait("much", loop.sock_sendall(near, data))
        trace("peer got", await reading == data)


@parity
async def test_sending_to_nobody(loop, trace):
    with pair() as (near, far):
        far.close()
        await trace.wait("send", loop.sock_sendall(near, b"x"))
        await trace.wait("read", loop.sock_recv(near, 10))


@parity
async def test_a_peer_that_goes_while_we_send(loop, trace):
    with pair() as (near, far):
        sending = asyncio.ensure_future(loop.sock_sendall(near, pattern(BIG)))
        await settle(loop)
        trace("waits", not sending.done())
        far.close()
        await trace.wait("send", sending)


@parity
async def test_both_directions_at_once(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        sending = asyncio.ensure_future(loop.sock_sendall(near, pattern(BIG)))
        await settle(loop)
        far.send(b"answer")
        await trace.wait("read", reading)
        trace("still sending", not sending.done())
        data = await in_thread(loop, read_exactly, far, BIG)
        await trace.wait("sent", sending)
        trace("peer got", data)


@parity
async def test_a_cancelled_receive_takes_nothing(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        reading.cancel()
        await asyncio.wait([reading])
        far.send(b"for the next")
        await settle(loop)
        await trace.wait("next", loop.sock_recv(near, 100))


@parity
async def test_cancelled_with_the_data_already_there(loop, trace):
    with pair() as (near, far):
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        far.send(b"kept")
        reading.cancel()
        await asyncio.wait([reading])
        trace("cancelled", reading.cancelled())
        await trace.wait("next", loop.sock_recv(near, 100))


@parity
async def test_a_cancelled_send_stops(loop, trace):
    with pair() as (near, far):
        data = pattern(BIG)
        sending = asyncio.ensure_future(loop.sock_sendall(near, data))
        await settle(loop)
        sending.cancel()
        await asyncio.wait([sending])
        near.close()
        received = await in_thread(loop, read_exactly, far, BIG)
        trace("a proper part", data.startswith(received), len(received) < BIG)


@parity
async def test_a_number_used_again_after_a_cancelled_receive(loop, trace):
    with contextlib.ExitStack() as stack:
        near, far = stack.enter_context(pair())
        reading = asyncio.ensure_future(loop.sock_recv(near, 100))
        await settle(loop)
        reading.cancel()
        await asyncio.wait([reading])
        number = near.fileno()
        near.close()
        again, again_far = stack.enter_context(pair())
        trace("same number", again.fileno() == number)
        reading = asyncio.ensure_future(loop.sock_recv(again, 100))
        await settle(loop)
        again_far.send(b"for the new one")
        await trace.wait("read", reading)


@parity
async def test_connecting_and_accepting(loop, trace):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        listener.setblocking(False)
        near.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await trace.wait("connect", loop.sock_connect(near, listener.getsockname()))
        far, address = await accepting
        with far:
            trace("accepted", type(far).__name__, far.gettimeout())
            trace("address", address == near.getsockname(), far.get_inheritable())
            await loop.sock_sendall(near, b"hello")
            await trace.wait("read", loop.sock_recv(far, 100))


@parity
async def test_a_cancelled_accept_loses_nobody(loop, trace):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await settle(loop)
        accepting.cancel()
        await asyncio.wait([accepting])
        with socket.create_connection(listener.getsockname()) as near:
            await settle(loop)
            far, address = await loop.sock_accept(listener)
            trace("accepted", address == near.getsockname())
            far.close()


@parity
async def test_connecting_to_nobody(loop, trace):
    with socket.socket() as bound, socket.socket() as near:
        bound.bind(("127.0.0.1", 0))
        near.setblocking(False)
        await trace.wait("refused", loop.sock_connect(near, bound.getsockname()))
    with socket.socket(socket.AF_UNIX) as near:
        near.setblocking(False)
        await trace.wait("no path", loop.sock_connect(near, "/tmp/parity-none/x"))
    with socket.socket() as near:
        near.setblocking(False)
        await trace.wait("no name", loop.sock_connect(near, ("name.invalid", 1)))
        await trace.wait("no address", loop.sock_connect(near, ("127.0.0.1",)))


@parity
async def test_wrong_sockets(loop, trace):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    near, far = socket.socketpair()
    secure = context.wrap_socket(near, do_handshake_on_connect=False)
    calls = {
        "recv": lambda sock: loop.sock_recv(sock, 1),
        "recv_into": lambda sock: loop.sock_recv_into(sock, bytearray(1)),
        "sendall": lambda sock: loop.sock_sendall(sock, b"x"),
        "connect": lambda sock: loop.sock_connect(sock, ("127.0.0.1", 1)),
        "accept": lambda sock: loop.sock_accept(sock),
        "recvfrom": lambda sock: loop.sock_recvfrom(sock, 1),
        "recvfrom_into": lambda sock: loop.sock_recvfrom_into(sock, bytearray(1)),
        "sendto": lambda sock: loop.sock_sendto(sock, b"x", ("127.0.0.1", 1)),
    }
    with secure, far, socket.socket() as unconnected:
        far.setblocking(False)
        for name, call in calls.items():
            await trace.wait(f"{name} of TLS", call(secure))
        loop.set_debug(True)
        with socket.socket() as blocking:
            for name, call in calls.items():
                await trace.wait(f"{name} of a blocking one", call(blocking))
        loop.set_debug(False)
        unconnected.setblocking(False)
        for name in ("recv", "recv_into", "sendall", "accept"):
            await trace.wait(f"{name} unconnected", calls[name](unconnected))
        unconnected.close()
        for name, call in calls.items():
            await trace.wait(f"{name} closed", call(unconnected))


@parity
async def test_wrong_data(loop, trace):
    with pair() as (near, far):
        for value in ("text", None, 7):
            await trace.wait("sendall", loop.sock_sendall(near, value))
        await trace.wait("recv text", loop.sock_recv(near, "x"))
        await trace.wait("recv negative", loop.sock_recv(near, -1))
        far.send(b"x")
        await trace.wait("into bytes", loop.sock_recv_into(near, b"constant"))
        await trace.wait("into text", loop.sock_recv_into(near, "text"))


@parity
async def test_datagrams(loop, trace):
    with udp_pair() as (near, far):
        await trace.wait("sent", loop.sock_sendto(near, b"hello", far.getsockname()))
        data, address = await loop.sock_recvfrom(far, 100)
        trace("got", data, address == near.getsockname())
        reading = asyncio.ensure_future(loop.sock_recvfrom(near, 100))
        await settle(loop)
        await loop.sock_sendto(far, b"answer", address)
        data, address = await reading
        trace("got", data, address == far.getsockname())
        buffer = bytearray(20)
        await loop.sock_sendto(near, b"into a buffer", far.getsockname())
        length, address = await loop.sock_recvfrom_into(far, buffer)
        trace("into", length, buffer, address == near.getsockname())
        await loop.sock_sendto(near, b"at most four", far.getsockname())
        buffer = bytearray(20)
        length, _ = await loop.sock_recvfrom_into(far, buffer, nbytes=4)
        trace("into", length, buffer)
        await loop.sock_sendto(near, b"", far.getsockname())
        data, _ = await loop.sock_recvfrom(far, 100)
        trace("empty", data)
        await loop.sock_sendto(near, b"cut off", far.getsockname())
        data, _ = await loop.sock_recvfrom(far, 3)
        trace("cut", data)
        await trace.wait("too long", loop.sock_sendto(near, bytes(1 << 20), address))
        await trace.wait("no address", loop.sock_sendto(near, b"x", None))


@parity
async def test_many_sockets_at_once(loop, trace):
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(50)]
        reads = [asyncio.ensure_future(loop.sock_recv(near, 100)) for near, _ in pairs]
        await settle(loop)
        for number, (_, far) in enumerate(pairs):
            far.send(b"%d" % number)
        trace("read", await asyncio.gather(*reads))


@parity
async def test_an_echo_through_sock_calls(loop, trace):
    async def serve(near):
        while data := await loop.sock_recv(near, 65536):
            await loop.sock_sendall(near, data)

    def ask(far):
        exact = 0
        for number in range(50):
            message = pattern(number * 1000 + 1, number)
            far.sendall(message)
            exact += read_exactly(far, len(message)) == message
        far.shutdown(1)
        return exact

    with pair() as (near, far):
        serving = asyncio.ensure_future(serve(near))
        trace("exact answers", await in_thread(loop, ask, far))
        await serving
