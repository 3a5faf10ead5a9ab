"""The datagram transport: UDP, and datagrams over Unix sockets, on the ring.

Internet sockets read by one multishot recvmsg into a pool of buffers of their own, each
large enough for the largest datagram, so that none is cut; only the pages that small
ones touch take memory. Other families know larger datagrams and other addresses: they
read by a poll and recvfrom(2), as all sockets do before Linux 6.0.

Sending tries at once. What the socket does not take waits for a poll, in order.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOBUFS, errno
from libc.string cimport memset

import collections
import socket
from asyncio import constants, selector_events

from uring_loop._compat import DATAGRAM_HEADER_BYTES, SENDS_EMPTY_DATAGRAMS
from uring_loop.driver.buffer_pool cimport MESSAGE_GROUP, BufferPool
from uring_loop.driver.capi cimport (
    FREE_THREADED, PyBUF_WRITE, PyContext_Enter, PyContext_Exit, PySys_Audit)
from uring_loop.driver.libc cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, send, sendto, sockaddr)
from uring_loop.driver.ring cimport Operation, os_error
from uring_loop.driver.uapi cimport (
    ECANCELED, IORING_CQE_F_MORE, IOSQE_BUFFER_SELECT, io_uring_prep_recvmsg_multishot,
    io_uring_recvmsg_out, io_uring_sqe)
from uring_loop.net.address cimport AddressBook
from uring_loop.net.transport cimport Transport
from uring_loop.scheduler.handles cimport Handle, report_callback, run_handle
from uring_loop.scheduler.loop_core cimport BULK_BYTES, LoopCore

cdef dict NAME_BYTES = {socket.AF_INET: 16, socket.AF_INET6: 28}
# Datagrams read for one poll, before other connections have their turn.
cdef int READS_MOST = 16
cdef Py_ssize_t WARN_AFTER = constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES
logger = selector_events.logger


@cython.final
cdef class ReceiveMessages(Operation):
    """Multishot recvmsg into the pool; each completion is one datagram."""

    def __cinit__(self, DatagramTransport transport not None):
        self.transport = transport
        memset(&self.template, 0, sizeof(self.template))

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        # The kernel takes from it only how much room the sender's name needs.
        self.template.msg_namelen = self.transport.name_bytes
        io_uring_prep_recvmsg_multishot(sqe, self.transport.fd, &self.template, 0)
        sqe.flags |= IOSQE_BUFFER_SELECT
        sqe.buf_group = self.transport.loop.message_pool.group
        return 0

    cdef int buffer_group(self) noexcept:
        # A constant: cannot raise.
        return MESSAGE_GROUP

    cdef int complete(self, int res, unsigned flags) except -1:
        if flags & IORING_CQE_F_MORE:
            return self.on_result(res, flags)
        try:
            self.on_result(res, flags)
        finally:
            self.transport.operation_ended()
        return 0

    cdef int on_result(self, int res, unsigned flags) except -1:
        cdef DatagramTransport transport = self.transport
        if res > 0:
            transport.received(res, flags)
        elif res == -ENOBUFS:
            # What came stays in the socket and is read next.
            transport.loop.message_pool.grow()
        elif res == -EINVAL:
            # A kernel before 6.0: read the other way.
            transport.loop.multishot = False
            transport.in_bulk = True
        elif res != -ECANCELED:
            transport.tell_error(os_error(res))
        return 0

    def __repr__(self):
        return f"<ReceiveMessages of {self.transport!r}>"


cdef class DatagramTransport(Transport):
    """Transport of one datagram socket; asyncio's in all that shows.

    It answers `isinstance` as asyncio's own, from which it cannot inherit.
    """

    max_size = BULK_BYTES

    def __cinit__(self, *args, **kwargs):
        self.receive = ReceiveMessages(self)
        self.backlog = collections.deque()

    def __init__(self, loop, sock, protocol, address=None, waiter=None, extra=None,
                 user_socket=False):
        # The user's socket may have other owners, such as forked processes. Nothing may
        # take a datagram from them that is not delivered at once.
        self.user_socket = self.by_readiness = user_socket
        self.open(loop, sock, protocol, extra, None)
        self.address = address
        self.name_bytes = NAME_BYTES.get(sock.family, 0)
        if self.name_bytes:
            self.book = AddressBook(sock.family)
        self.in_bulk = self.book is None or not self.loop.multishot
        self.begin(waiter)

    @property
    def __class__(self):
        return selector_events._SelectorDatagramTransport

    @property
    def _address(self):
        return self.address

    # ---- reading

    cdef bint open_pool(self) except -1:
        return self.loop.open_message_pool()

    cdef int received(self, int res, unsigned flags) except -1:
        """One datagram in a buffer: a header, the sender's name, the bytes."""
        cdef BufferPool pool = self.loop.message_pool
        cdef const char *memory = pool.borrow(flags)
        cdef const io_uring_recvmsg_out *header = <const io_uring_recvmsg_out *>memory
        cdef const char *name = memory + sizeof(io_uring_recvmsg_out)
        cdef Py_ssize_t before = sizeof(io_uring_recvmsg_out) + self.name_bytes
        try:
            if self.closing or self.loop._closed:
                return 0
            data = PyBytes_FromStringAndSize(memory + before, res - before)
            address = None
            if header.namelen:
                address = self.book.name(name, min(header.namelen, self.name_bytes))
        finally:
            pool.give_back(flags)
        self.loop.received_bytes += res - before
        return self.deliver(data, address)

    cdef int readable(self) except -1:
        cdef char *memory = self.loop.bulk_memory()
        cdef Py_ssize_t size
        view = PyMemoryView_FromMemory(memory, BULK_BYTES, PyBUF_WRITE)
        for _ in range(READS_MOST):
            if not self.wants_data():
                break
            try:
                size, address = self.sock.recvfrom_into(view)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as exc:
                self.tell_error(exc)
                break
            self.loop.received_bytes += size
            self.deliver(PyBytes_FromStringAndSize(memory, size), address)
        return 0

    cdef int deliver(self, bytes data, address) except -1:
        cdef object context = self.context
        if self.paused or self.pending is not None:
            # Received before the pause took effect: kept, in order.
            if self.pending is None:
                self.pending = collections.deque()
            self.pending.append((data, address))
            return 0
        try:
            PyContext_Enter(<PyObject *>context)
            try:
                self.protocol.datagram_received(data, address)
            finally:
                PyContext_Exit(<PyObject *>context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.callback_failed(self.protocol.datagram_received, (data, address), exc)
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return 0

    def _deliver_pending(self):
        pending, self.pending = self.pending, None
        try:
            while pending and not self.paused and not self.closing:
                data, address = pending.popleft()
                self.deliver(data, address)
        finally:
            if pending and not self.closing:
                self.pending = pending
                if not self.paused:
                    self.loop.call_soon_fast(self._deliver_pending, (), None)
        self.arm()

    cdef int tell_error(self, exc) except -1:
        """What the network says of an earlier datagram, such as: nobody listens."""
        cdef object context = self.context
        if self.closing or self.loop._closed:
            return 0
        try:
            PyContext_Enter(<PyObject *>context)
            try:
                self.protocol.error_received(exc)
            finally:
                PyContext_Exit(<PyObject *>context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.callback_failed(self.protocol.error_received, (exc,), error)
        return 0

    cdef int callback_failed(self, method, tuple args, exc) except -1:
        """The endpoint goes on, as on asyncio, where only the callback has failed."""
        cdef Handle handle = Handle.__new__(Handle)
        handle._callback = method
        handle._args = args
        handle._loop = self.loop
        handle._context = self.context
        return report_callback(handle, method, args, exc)

    # ---- writing

    cdef Py_ssize_t unsent(self) noexcept:
        # A plain number: cannot raise.
        return self.backlog_bytes

    def sendto(self, data, addr=None):
        """Send one datagram, or keep it while the socket has no room.

        `addr` is None or the same if the endpoint has a remote address. Errors of the
        network go to the protocol's error_received(). Raises TypeError for what is
        not bytes-like, ValueError for another address.
        """
        if FREE_THREADED:
            self.loop.refuse_elsewhere()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, "
                            f"not {type(data).__name__!r}")
        if not SENDS_EMPTY_DATAGRAMS and not data:
            return
        if self.address:
            if addr is not None and addr != self.address:
                raise ValueError(
                    f"Invalid address: must be None or {self.address}")
            addr = self.address
        if self.finished or (self.conn_lost and self.address):
            if self.conn_lost >= WARN_AFTER:
                logger.warning("socket.send() raised exception.")
            self.conn_lost += 1
            return
        if self.loop.held.first is not None:
            # Written before this datagram: sent before it.
            self.loop.held.flush()
        if self.backlog or not self.send_now(data, addr):
            self.keep(bytes(data), addr)

    cdef bint send_now(self, data, address) except -1:
        """False if the socket has no room; errors are dealt with."""
        cdef Py_buffer view
        cdef ssize_t sent
        cdef bytes raw = None
        if not self.has_peer():
            raw = None if self.book is None else self.book.raw(address)
            if raw is None:
                return self.send_slowly(data, address)
            PySys_Audit("socket.sendto", "OO", <PyObject *>self.sock,
                        <PyObject *>address)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        if raw is None:
            sent = send(self.fd, view.buf, view.len, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            sent = sendto(self.fd, view.buf, view.len, MSG_NOSIGNAL | MSG_DONTWAIT,
                          <const sockaddr *>PyBytes_AS_STRING(raw),
                          <unsigned>PyBytes_GET_SIZE(raw))
        if sent < 0:
            sent = -errno
        PyBuffer_Release(&view)
        if sent == -EAGAIN or sent == -EINTR:
            return False
        if sent < 0:
            self.protocol.error_received(os_error(<int>sent))
        else:
            self.loop.sent_bytes += sent
        return True

    def send_slowly(self, data, address):
        """Through the socket module, which knows every address and its errors."""
        taken = True
        try:
            self.loop.sent_bytes += <int>self.sock.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            taken = False
        except OSError as exc:
            self.protocol.error_received(exc)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fatal_error(exc, "Fatal write error on datagram transport")
        return taken

    cdef int keep(self, bytes data, address) except -1:
        self.backlog.append((data, address))
        self.backlog_bytes += len(data) + DATAGRAM_HEADER_BYTES
        self.watch_writable()
        return self.pause_protocol_if_full()

    cdef int writable(self, int res) except -1:
        """There is room again: send until there is none."""
        cdef Handle handle
        try:
            if self.room_watch is not None:
                # It has a context of its own, and reports what is raised.
                self._send_backlog()
            else:
                handle = Handle.__new__(Handle)
                handle._callback = self._send_backlog
                handle._args = ()
                handle._loop = self.loop
                handle._context = self.flush.context
                run_handle(handle)
        finally:
            if not self.backlog:
                self.unwatch_room()
            self.backlog_sent()
        return 0

    def _send_backlog(self):
        while self.backlog:
            data, address = self.backlog.popleft()
            self.backlog_bytes -= len(data) + DATAGRAM_HEADER_BYTES
            if not self.send_now(data, address):
                self.backlog.appendleft((data, address))
                self.backlog_bytes += len(data) + DATAGRAM_HEADER_BYTES
                break
        self.resume_protocol_if_drained()

    cdef int backlog_sent(self) except -1:
        """Wait for room for the rest; if there is none, end what waited for that."""
        if self.backlog:
            return self.watch_writable()
        if self.closing and not self.conn_lost:
            self.conn_lost += 1
            self._call_connection_lost(None)
        return 0

    cdef int drop_unsent(self) except -1:
        self.backlog.clear()
        self.backlog_bytes = 0
        return self.unwatch_writable()
