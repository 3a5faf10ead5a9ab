"""loop.sock_*: calls on a user's socket, made at once and again when it is ready.

Each coroutine waits for readiness in the loop's `WatchSet`, in the slot of a callback
of add_reader() or add_writer(), as on asyncio. The coroutine itself makes the system
call. So a wait can be cancelled at any point without the loss of a byte, a connection
or a datagram, and a socket that is closed during a wait is closed for its peer.

Each function replaces the method of the same name of asyncio's loop, and calls that for
instances of subclasses of socket.socket.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.long cimport PyLong_CheckExact
from libc.errno cimport EAGAIN, EINTR, ENOTCONN, errno

import os
import socket
import sys
from asyncio import exceptions, unix_events

from uring_loop._compat import SENDFILE_ALWAYS_SEEKS
from uring_loop.driver.libc cimport MSG_DONTWAIT, recv
from uring_loop.driver.ring cimport os_error
from uring_loop.net.backlog cimport send_bytes
from uring_loop.net.transport cimport get_writable
from uring_loop.scheduler.loop_core cimport BULK_BYTES, LoopCore
from uring_loop.scheduler.loop_core import StockLoop
from uring_loop.scheduler.watch cimport Waiter
from uring_loop.scheduler.watches cimport WatchSet

cdef object Socket = socket.socket
# The most bytes per sendfile(2), so that offsets cannot overflow.
cdef object SENDFILE_MOST = sys.maxsize // 2 + 1


@cython.final
cdef class SocketWait(Waiter):
    """The wait of one coroutine for one socket."""

    cdef int on_ready(self) except -1:
        end_wait(self, False)
        if not self.future.done():
            self.future.set_result(None)
        return 0

    def __repr__(self):
        return f"<SocketWait fd={self.fd} {self.future!r}>"


cdef SocketWait begin_wait(LoopCore loop, sock, bint writing, bint trusting):
    """A wait whose `future` is done when the socket is ready.

    trusting  False if the last wait for this call reported the socket ready, and the
              call would have blocked all the same
    """
    cdef SocketWait wait = new_wait(loop, sock, writing)
    (<WatchSet>loop.watcher).wait(wait.fd, writing, wait, sock, trusting)
    return wait


cdef SocketWait begin_connect_wait(LoopCore loop, sock):
    """A wait of a connecting socket, with a one-shot registration: the socket will
    hardly wait for room next, and usually becomes that of a transport."""
    cdef SocketWait wait = new_wait(loop, sock, True)
    wait.once = True
    (<WatchSet>loop.watcher).wait(wait.fd, True, wait, sock, False)
    return wait


cdef SocketWait new_wait(LoopCore loop, sock, bint writing):
    cdef SocketWait wait = SocketWait.__new__(SocketWait)
    wait.fd = sock.fileno()
    if wait.fd in loop._transport_refs:
        # Raises RuntimeError if that transport still uses the descriptor.
        loop._ensure_fd_no_transport(wait.fd)
    wait.loop = loop
    wait.writing = writing
    wait.future = loop.create_future()
    return wait


cdef int end_wait(SocketWait wait, bint at_once) except -1:
    """End the wait. Without `at_once` the registration stays for the next wait, or
    until epoll reports it."""
    if wait.waiting:
        (<WatchSet>wait.loop.watcher).leave(wait.fd, wait.writing, wait, at_once)
    return 0


cdef bint is_plain(LoopCore loop, sock) except -1:
    """Is it a socket.socket and no subclass? In debug mode a blocking socket raises
    ValueError, as on asyncio."""
    if type(sock) is not Socket:
        return False
    if loop.debug and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")
    return True


cdef object receive(LoopCore loop, sock, size):
    """The bytes that can be received now; None if the call would block."""
    cdef char *memory
    cdef ssize_t got
    if not PyLong_CheckExact(size) or not 0 < size <= BULK_BYTES:
        # Invalid sizes, and sizes beyond the loop's buffer.
        return attempt(sock.recv, (size,))
    memory = loop.bulk_memory()
    got = recv(sock.fileno(), memory, size, MSG_DONTWAIT)
    if got >= 0:
        return PyBytes_FromStringAndSize(memory, got)
    if errno == EAGAIN or errno == EINTR:
        return None
    raise os_error(-errno)


cdef object receive_into(sock, buffer):
    cdef Py_buffer view
    cdef ssize_t got
    get_writable(buffer, &view)
    got = recv(sock.fileno(), view.buf, view.len, MSG_DONTWAIT)
    if got < 0:
        got = -errno
    PyBuffer_Release(&view)
    if got >= 0:
        return got
    if got == -EAGAIN or got == -EINTR:
        return None
    raise os_error(<int>got)


cdef Py_ssize_t send(sock, data) except -1:
    """Send; returns the number of bytes that the socket accepted."""
    cdef Py_buffer view
    cdef Py_ssize_t sent
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    sent = send_bytes(sock.fileno(), <const char *>view.buf, view.len)
    PyBuffer_Release(&view)
    if sent >= 0:
        return sent
    if sent == -EAGAIN or sent == -EINTR:
        return 0
    raise os_error(<int>sent)


cdef object attempt(method, tuple args):
    """The result of a call; None if it would block."""
    result = None
    try:
        result = method(*args)
    except (BlockingIOError, InterruptedError):
        pass
    return result


async def sock_recv(LoopCore self, sock, n):
    """Receive up to `n` bytes; b"" at the end of the stream."""
    cdef SocketWait wait = None
    if not is_plain(self, sock):
        return await StockLoop.sock_recv(self, sock, n)
    while True:
        data = receive(self, sock, n)
        if data is not None:
            return data
        wait = begin_wait(self, sock, False, wait is None)
        try:
            await wait.future
        finally:
            end_wait(wait, False)


async def sock_recv_into(LoopCore self, sock, buf):
    """Receive into a writable buffer; returns the number of bytes."""
    cdef SocketWait wait = None
    if not is_plain(self, sock):
        return await StockLoop.sock_recv_into(self, sock, buf)
    while True:
        got = receive_into(sock, buf)
        if got is not None:
            return got
        wait = begin_wait(self, sock, False, wait is None)
        try:
            await wait.future
        finally:
            end_wait(wait, False)


async def sock_recvfrom(LoopCore self, sock, bufsize):
    """Receive one datagram; returns (bytes, address)."""
    if not is_plain(self, sock):
        return await StockLoop.sock_recvfrom(self, sock, bufsize)
    return await when_ready(self, sock, False, sock.recvfrom, (bufsize,))


async def sock_recvfrom_into(LoopCore self, sock, buf, nbytes=0):
    """Receive one datagram into a buffer; returns (size, address)."""
    if not is_plain(self, sock):
        return await StockLoop.sock_recvfrom_into(self, sock, buf, nbytes)
    return await when_ready(
        self, sock, False, sock.recvfrom_into, (buf, nbytes or len(buf)))


async def sock_accept(LoopCore self, sock):
    """Accept a connection; returns (socket, address)."""
    if not is_plain(self, sock):
        return await StockLoop.sock_accept(self, sock)
    conn, address = await when_ready(self, sock, False, sock.accept, ())
    conn.setblocking(False)
    return conn, address


async def when_ready(LoopCore self, sock, writing, method, args):
    """The result of a call that is repeated at each readiness until it does not
    block."""
    cdef SocketWait wait = None
    while True:
        result = attempt(method, args)
        if result is not None:
            return result
        wait = begin_wait(self, sock, writing, wait is None)
        try:
            await wait.future
        finally:
            end_wait(wait, False)


async def sock_sendall(LoopCore self, sock, data):
    """Send all of a bytes-like object; after an error the number of bytes sent is
    unknown."""
    cdef SocketWait wait
    cdef Py_ssize_t sent
    if not is_plain(self, sock):
        return await StockLoop.sock_sendall(self, sock, data)
    if self.held.first is not None:
        # Written to a transport before these bytes: sent before them.
        self.held.flush()
    sent = send(sock, data)
    if sent == len(data):
        return
    rest = memoryview(data).cast("B")[sent:]
    trusting = True
    while rest:
        wait = begin_wait(self, sock, True, trusting)
        try:
            await wait.future
        finally:
            end_wait(wait, False)
        sent = send(sock, rest)
        trusting = sent > 0
        rest = rest[sent:]


async def sock_sendto(LoopCore self, sock, data, address):
    """Send one datagram; returns the number of bytes."""
    if not is_plain(self, sock):
        return await StockLoop.sock_sendto(self, sock, data, address)
    return await when_ready(self, sock, True, sock.sendto, (data, address))


async def _sock_sendfile_native(LoopCore self, sock, file, offset, count):
    """Call sendfile(2) until all is sent. A splice on the ring would need a pipe and a
    kernel thread. SendfileNotAvailableError selects asyncio's fallback."""
    cdef SocketWait wait
    if not is_plain(self, sock):
        return await StockLoop._sock_sendfile_native(self, sock, file, offset, count)
    if not hasattr(unix_events.os, "sendfile"):
        # asyncio checks this name, and a program may have removed it.
        raise exceptions.SendfileNotAvailableError("os.sendfile() is not available")
    try:
        fileno = file.fileno()
        size = count or os.fstat(fileno).st_size
    except (AttributeError, OSError):
        raise exceptions.SendfileNotAvailableError("not a regular file") from None
    if not size:
        return 0
    total = 0
    try:
        while total < size or not count:
            wanted = min(size - total if count else size, SENDFILE_MOST)
            sent = send_some(sock, fileno, offset + total, wanted, total > 0)
            if sent == 0:
                break
            total += sent or 0
            wait = begin_wait(self, sock, True, sent is not None)
            try:
                await wait.future
            finally:
                end_wait(wait, False)
    finally:
        if total or SENDFILE_ALWAYS_SEEKS:
            os.lseek(fileno, offset + total, os.SEEK_SET)
    return total


cdef object send_some(sock, fileno, offset, wanted, bint begun):
    """One sendfile(2): the number of bytes, or None if the socket has no room."""
    sent = None
    try:
        sent = os.sendfile(sock.fileno(), fileno, offset, wanted)
    except (BlockingIOError, InterruptedError):
        pass
    except OSError as exc:
        if not begun:
            # Most likely a file that sendfile(2) does not support.
            raise exceptions.SendfileNotAvailableError(
                "os.sendfile call failed") from exc
        if exc.errno == ENOTCONN:
            # The socket was closed. asyncio raises ConnectionError on all systems.
            raise ConnectionError("socket is not connected", ENOTCONN) from exc
        raise
    return sent
