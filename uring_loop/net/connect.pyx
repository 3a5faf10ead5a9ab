"""Connecting: sock_connect(), and create_connection() to a numeric address."""

from cpython.long cimport PyLong_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact
from libc.errno cimport EAGAIN, EALREADY, EINPROGRESS, EINTR, errno

import socket
from asyncio import base_events

from uring_loop._compat import CONTEXT_PER_CONNECTION
from uring_loop.driver.capi cimport PyContext_CopyCurrent
from uring_loop.driver.libc cimport (
    AF_INET, AF_INET6, IPPROTO_TCP, POLLOUT, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    SO_ERROR, getsockopt, inet_pton, poll, pollfd)
from uring_loop.driver.ring cimport os_error
from uring_loop.net.sock_calls cimport (
    SocketWait, begin_connect_wait, end_wait, is_plain)
from uring_loop.net.stream cimport StreamTransport
from uring_loop.net.user_sockets import UserSocket
from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.loop_core import StockLoop

cdef object Socket = socket.socket


async def sock_connect(LoopCore self, sock, address):
    """Connect to an address; names are resolved first, in the executor."""
    cdef SocketWait wait
    if not is_plain(self, sock):
        return await StockLoop.sock_connect(self, sock, address)
    family = sock.family
    if family == AF_INET or family == AF_INET6:
        resolved = await self._ensure_resolved(
            address, family=family, type=sock.type, proto=sock.proto, loop=self)
        address = resolved[0][4]
    wait = begin_connect(self, sock, address, False)
    if wait is not None:
        try:
            await wait.future
        finally:
            end_wait(wait, True)
        check_connected(sock, address)


cdef SocketWait begin_connect(LoopCore loop, sock, address, bint look):
    """Start to connect; returns None if the socket is connected at once.

    look  poll once before waiting: an address of this machine has answered by then
    """
    cdef int error = -1
    cdef int events
    try:
        error = sock.connect_ex(address)
    except (TypeError, OverflowError):
        # The message of connect() names connect(), as on asyncio.
        sock.connect(address)
        error = 0
    if error == 0:
        return None
    if error not in (EINPROGRESS, EALREADY, EAGAIN, EINTR):
        raise os_error(-error)
    # The kernel continues to connect after EINTR, too.
    if look:
        events = poll_once(sock.fileno())
        if events and events != POLLOUT:
            check_connected(sock, address)
        if events:
            return None
    return begin_connect_wait(loop, sock)


cdef int poll_once(int fd) noexcept:
    """The events of a connecting socket: 0 before the answer, POLLOUT alone if it is
    connected."""
    # A system call: cannot raise.
    cdef pollfd asked
    asked.fd = fd
    asked.events = POLLOUT
    asked.revents = 0
    poll(&asked, 1, 0)
    return asked.revents


cdef int check_connected(sock, address) except -1:
    cdef int fd = sock.fileno()
    cdef int error = 0
    cdef unsigned size = sizeof(error)
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0:
        raise os_error(-errno)
    if error:
        raise OSError(error, f"Connect call failed {address}")
    return 0


async def create_connection(
        LoopCore self, protocol_factory, host=None, port=None, **options):
    """asyncio's method. The most common case, a numeric address without options, has
    the same steps compiled, without the branches for the options."""
    cdef SocketWait wait
    cdef StreamTransport transport
    cdef int family = 0
    if not options and not self.debug:
        family = numeric_family(host, port)
    if family == 0 or not is_unchanged(self):
        with UserSocket(self, options.get("sock")):
            return await StockLoop.create_connection(
                self, protocol_factory, host, port, **options)
    address = (host, port) if family == AF_INET else (host, port, 0, 0)
    sock = Socket(family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP)
    try:
        wait = begin_connect(self, sock, address, True)
        if wait is not None:
            try:
                await wait.future
            finally:
                end_wait(wait, True)
            check_connected(sock, address)
    except BaseException:
        sock.close()
        raise
    transport = StreamTransport.__new__(StreamTransport)
    if CONTEXT_PER_CONNECTION:
        # Copied first: the protocol does not see what the factory sets, as on asyncio.
        transport.own_context = PyContext_CopyCurrent()
    protocol = protocol_factory()
    waiter = self.create_future()
    transport.open(self, sock, protocol, None, None)
    transport.begin(waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


cdef int numeric_family(host, port) except -1:
    """The family of a numeric address; 0 for all others, which asyncio resolves."""
    cdef char address[16]
    if (not PyUnicode_CheckExact(host) or not PyLong_CheckExact(port)
            or not 0 <= port <= 0xFFFF or not host.isascii() or "\0" in host):
        return 0
    text = host.encode()
    if inet_pton(AF_INET, text, address) == 1:
        return AF_INET
    return AF_INET6 if inet_pton(AF_INET6, text, address) == 1 else 0


cdef bint is_unchanged(loop) except -1:
    """Are all STEPS, the method that makes the transport, and the socket class the
    original ones, without patch or override?"""
    # Looked up in the class: a bound method would be made of each.
    cdef object cls = type(loop)
    cdef dict patched = loop.__dict__
    if socket.socket is not Socket or base_events.socket is not socket:
        return False
    for name, function in STEPS:
        if name in patched or getattr(cls, name) is not function:
            return False
    return ("_make_socket_transport" not in patched
            and cls._make_socket_transport is cls._own_make_socket_transport)


cdef tuple STEPS = (
    ("sock_connect", sock_connect),
    ("_ensure_resolved", StockLoop._ensure_resolved),
    ("_connect_sock", StockLoop._connect_sock),
    ("_create_connection_transport", StockLoop._create_connection_transport),
)
