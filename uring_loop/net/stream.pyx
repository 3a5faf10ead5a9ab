"""The stream transport: TCP and Unix sockets on the ring.

Reading has two modes, and never more than one request in flight:

small   One multishot receive into the loop's pool. A completion brings the bytes, no
        further system call is needed. They are copied out, and the buffer goes back.
bulk    A connection that fills whole pool buffers would fill many cold ones. It gets
        a one-shot poll instead, and recv(2) into one buffer that stays in the cache,
        or straight into the memory of a BufferedProtocol. A connection for which no
        pool buffer is left reads this way, too.

Writing tries send(2) at once: the result is known, back-pressure is simple, and no
memory of a Python object is ever in the kernel's hands. What the socket does not take
waits for one poll for POLLOUT, then goes out gathered with sendmsg(2). With
DEFER_TASKRUN such direct calls cost nothing extra beside a ring. Connections that write
piecemeal have the pieces of one callback gathered: see gather.pyx.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE)
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOBUFS, errno
from libc.string cimport memcpy, memset

import collections
import socket
from asyncio import constants, protocols, selector_events

from uring_loop._compat import join_lines, writable_types
from uring_loop.driver.buffer_pool cimport STREAM_GROUP, BufferPool
from uring_loop.driver.capi cimport (
    PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit,
    PyObject_CallMethodOneArg)
from uring_loop.driver.libc cimport (
    IPPROTO_TCP, MSG_DONTWAIT, POLLERR, POLLHUP, TCP_NODELAY, iovec, msghdr, recv,
    recvmsg, setsockopt)
from uring_loop.driver.ring cimport Operation, os_error
from uring_loop.driver.uapi cimport (
    ECANCELED, IORING_CQE_F_MORE, IOSQE_BUFFER_SELECT, io_uring_prep_recv_multishot,
    io_uring_sqe)
from uring_loop.net.backlog cimport Backlog, send_bytes
from uring_loop.net.gather cimport HOLD_BYTES
from uring_loop.net.tls cimport SSLCore
from uring_loop.net.transport cimport ReadPoll, Transport, WritePoll, get_writable
from uring_loop.scheduler.busy_poll cimport now_ns
from uring_loop.scheduler.loop_core cimport BULK_BYTES, LoopCore

logger = selector_events.logger
cdef str WRITABLE_TYPES = writable_types()
cdef object BufferedProtocol = protocols.BufferedProtocol
cdef str DATA_RECEIVED = "data_received"
# No end of stream and no error waits behind the pending data.
cdef enum:
    NO_END = 1
# Whole pool buffers in a row after which a connection reads in bulk, and reads of
# less than SHORT_BYTES in a row after which it no longer does.
cdef int FULL_READS = 2
cdef int SHORT_READS = 16
cdef int SHORT_BYTES = 8192
# Reads from this size on are worth a guess at the next one's.
cdef int DIRECT_BYTES = 32768
cdef Py_ssize_t WARN_AFTER = constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES


@cython.final
cdef class ReceiveOperation(Operation):
    """Multishot receive into the pool; in flight while the stream reads small."""

    def __cinit__(self, StreamTransport stream not None):
        self.stream = stream

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_recv_multishot(sqe, self.stream.fd, NULL, 0, 0)
        sqe.flags |= IOSQE_BUFFER_SELECT
        sqe.buf_group = self.stream.loop.pool.group
        return 0

    cdef int buffer_group(self) noexcept:
        # A constant: cannot raise.
        return STREAM_GROUP

    cdef int complete(self, int res, unsigned flags) except -1:
        if flags & IORING_CQE_F_MORE:
            return self.on_result(res, flags)
        try:
            self.on_result(res, flags)
        finally:
            self.stream.operation_ended()
        return 0

    cdef int on_result(self, int res, unsigned flags) except -1:
        cdef StreamTransport stream = self.stream
        if res > 0:
            stream.received(res, flags)
        elif res == -ENOBUFS:
            # No buffer was left. What came stays in the socket and is read next.
            stream.in_bulk = not stream.loop.pool.grow() or stream.in_bulk
        elif res == -EINVAL:
            # A kernel before 6.0: every stream reads the other way.
            stream.loop.multishot = False
            stream.in_bulk = True
        elif res != -ECANCELED:
            stream.ended(res)
        return 0

    def __repr__(self):
        return f"<ReceiveOperation of {self.stream!r}>"


cdef class StreamTransport(Transport):
    """Transport of one connected stream socket; asyncio's in all that shows.

    It cannot inherit from asyncio's classes (both have a memory layout of their own),
    but answers `isinstance` as asyncio's own socket transport.
    """

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE
    max_size = BULK_BYTES

    def __cinit__(self, *args, **kwargs):
        self.receive = ReceiveOperation(self)
        self.pending_end = NO_END

    def __init__(self, loop, sock, protocol, waiter=None, extra=None, server=None):
        Transport.__init__(self, loop, sock, protocol, extra, server)
        self.begin(waiter)

    cdef int begin(self, waiter) except -1:
        cdef int on = 1
        self.in_bulk = not self.loop.multishot
        # As on asyncio; sockets that are not TCP refuse it.
        setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        return Transport.begin(self, waiter)

    @property
    def __class__(self):
        return selector_events._SelectorSocketTransport

    cdef int take_protocol(self, protocol) except -1:
        self.buffered = isinstance(protocol, BufferedProtocol)
        self.tls = protocol if isinstance(protocol, SSLCore) else None
        return Transport.take_protocol(self, protocol)

    @property
    def _eof(self):
        return self.eof_asked

    # ---- reading: what comes

    cdef bint open_pool(self) except -1:
        return self.loop.open_pool()

    cdef int stop_reading(self) except -1:
        self.pending_end = NO_END
        return Transport.stop_reading(self)

    cdef int received(self, int size, unsigned flags) except -1:
        cdef BufferPool pool = self.loop.pool
        if self.closing or self.loop._closed:
            pool.give_back(flags)
            return 0
        self.note_size(size)
        self.data_step = self.loop.step_number
        if self.paused or self.pending is not None:
            # Received before the pause took effect: kept, in order.
            if self.pending is None:
                self.pending = collections.deque()
            self.pending.append(pool.take(flags, size))
        elif self.buffered:
            try:
                self.fill_buffer(pool.borrow(flags), size)
            finally:
                pool.give_back(flags)
        else:
            self.deliver(pool.take(flags, size))
        return 0

    cdef int note_size(self, int size) except -1:
        """Whole buffers one after the other, or with only the rest of a message in
        between: this connection is a bulk sender."""
        if <unsigned>size < self.loop.pool.buffer_bytes:
            if self.short_count:
                self.full_count = 0
            self.short_count = 1
            return 0
        self.short_count = 0
        self.full_count += 1
        if self.full_count == FULL_READS:
            self.full_count = 0
            self.in_bulk = True
            self.loop.cancel(self.receive)
        return 0

    cdef int ended(self, int res) except -1:
        """End of stream (0) or an error; behind what is pending."""
        if self.closing or self.loop._closed:
            return 0
        self.eof_seen = True
        # In the iteration that brought data, it is kept, too: on asyncio, what
        # data_received() has just started runs before the end is read.
        if not (self.paused or self.pending is not None
                or self.data_step == self.loop.step_number):
            return self.deliver_end(res)
        self.pending_end = res
        if self.pending is None:
            self.pending = collections.deque()
            if not self.paused:
                self.loop.call_soon_fast(self._deliver_pending, (), None)
        return 0

    cdef int deliver(self, bytes data) except -1:
        cdef PyObject *result
        cdef object protocol = self.protocol
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        # A pointer, not an object: see run_handle in handles.pyx.
        result = PyObject_CallMethodOneArg(
            <PyObject *>protocol, <PyObject *>DATA_RECEIVED, <PyObject *>data)
        PyContext_Exit(<PyObject *>context)
        if result == NULL:
            return self.protocol_failed("data_received")
        Py_XDECREF(result)
        if self.loop.held_writer is not None:
            self.loop.held_writer.flush_held()
        return 0

    cdef int fill_buffer(self, const char *data, Py_ssize_t size) except -1:
        """Copy into the protocol's own memory, in as many rounds as it takes."""
        cdef Py_buffer view
        cdef Py_ssize_t room
        cdef Py_ssize_t done = 0
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        try:
            while done < size and not self.closing and not self.loop.ring.is_forked():
                if self.paused or not self.buffered:
                    self.put_back(data[done:size])
                    break
                if self.tls is not None and self.tls.takes_data():
                    self.tell_updated(data + done, size - done)
                    break
                if self.borrow_buffer(&view):
                    room = min(size - done, view.len)
                    memcpy(view.buf, data + done, room)
                    PyBuffer_Release(&view)
                    done += room
                    self.tell_updated(NULL, room)
        finally:
            PyContext_Exit(<PyObject *>context)
        if self.loop.held_writer is not None:
            self.loop.held_writer.flush_held()
        return 0

    cdef int put_back(self, bytes data) except -1:
        """Paused, or another kind of protocol has taken over in the middle of this:
        the rest is delivered as if it had come later."""
        if self.pending is None:
            self.pending = collections.deque()
        self.pending.appendleft(data)
        if not self.paused:
            self.loop.call_soon_fast(self._deliver_pending, (), None)
        return 0

    cdef bint borrow_buffer(self, Py_buffer *view) except -1:
        """The memory of the protocol's buffer; False if it has none to give, and the
        connection ends."""
        message = "Fatal error: protocol.get_buffer() call failed."
        try:
            buffer = self.protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            message = "Fatal read error on socket transport"
            get_writable(buffer, view)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fatal_error(exc, message)
            return False
        return True

    cdef int tell_updated(self, const char *data, Py_ssize_t size) except -1:
        """`data`: for our TLS, which needs no buffer for it; NULL: it is there."""
        try:
            if data != NULL:
                self.tls.feed(data, size)
            else:
                self.protocol.buffer_updated(size)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fatal_error(
                exc, "Fatal error: protocol.buffer_updated() call failed.")
        return 0

    cdef int deliver_end(self, int res) except -1:
        cdef object context = self.context
        if res < 0:
            return self.fatal_error(
                os_error(res), "Fatal read error on socket transport")
        if self.loop.debug:
            logger.debug("%r received EOF", self)
        PyContext_Enter(<PyObject *>context)
        try:
            if not self.protocol.eof_received():
                self.close()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    def _deliver_pending(self):
        """What came before a pause took effect, once reading is wanted again."""
        cdef object pending = self.pending
        cdef bytes data
        cdef int end
        # While self.pending is set, what comes now is queued behind it.
        if pending:
            try:
                while pending and not self.paused and not self.closing:
                    data = pending.popleft()
                    if not self.buffered:
                        self.deliver(data)
                    else:
                        self.fill_buffer(
                            PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            finally:
                # Once more, for the rest if this was interrupted, and for the end,
                # which never comes in the same iteration as data: see ended().
                if not self.paused and not self.closing:
                    self.loop.call_soon_fast(self._deliver_pending, (), None)
            return
        if self.paused or self.closing:
            return
        self.pending = None
        if self.pending_end != NO_END:
            end = self.pending_end
            self.pending_end = NO_END
            self.deliver_end(end)
        self.arm()

    # ---- reading in bulk

    cdef int readable(self) except -1:
        """There is something to read: one recv(2) of as much as there is."""
        cdef ssize_t size
        if not self.wants_data():
            return 0
        if self.buffered:
            size = self.read_bulk_buffered()
        else:
            size = self.read_bulk()
        if size > 0:
            self.note_short(size)
        elif size != -EAGAIN and size != -EINTR:
            self.ended(<int>size)
        return 0

    cdef ssize_t read_bulk(self) except? -1:
        """-errno if there was nothing. Into one buffer that stays in the cache."""
        cdef char *memory = self.loop.bulk_memory()
        cdef ssize_t size
        if self.last_size >= DIRECT_BYTES:
            return self.read_direct(memory)
        size = recv(self.fd, memory, BULK_BYTES, MSG_DONTWAIT)
        if size < 0:
            return -errno
        self.last_size = size
        if size:
            self.deliver(PyBytes_FromStringAndSize(memory, size))
        return size

    cdef ssize_t read_direct(self, char *memory) except? -1:
        """The same for long reads, whose copy would cost. Often one is as long as the
        last: so much goes straight into a bytes object, the rest into the buffer."""
        cdef iovec vector[2]
        cdef msghdr message
        cdef ssize_t size
        cdef Py_ssize_t room = self.last_size
        cdef bytes data = PyBytes_FromStringAndSize(NULL, room)
        cdef bytes whole
        vector[0].iov_base = PyBytes_AS_STRING(data)
        vector[0].iov_len = room
        vector[1].iov_base = memory
        vector[1].iov_len = BULK_BYTES - room
        memset(&message, 0, sizeof(message))
        message.msg_iov = vector
        message.msg_iovlen = 2
        size = recvmsg(self.fd, &message, MSG_DONTWAIT)
        if size < 0:
            return -errno
        self.last_size = size
        if size == 0:
            return 0
        if size < room:
            data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), size)
        elif size > room:
            whole = PyBytes_FromStringAndSize(NULL, size)
            memcpy(PyBytes_AS_STRING(whole), PyBytes_AS_STRING(data), room)
            memcpy(PyBytes_AS_STRING(whole) + room, memory, size - room)
            data = whole
        self.deliver(data)
        return size

    cdef ssize_t read_bulk_buffered(self) except? -1:
        """The same into the protocol's own memory. -EAGAIN also if that failed."""
        cdef Py_buffer view
        cdef ssize_t size
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        try:
            if not self.borrow_buffer(&view):
                return -EAGAIN
            size = recv(self.fd, view.buf, view.len, MSG_DONTWAIT)
            if size < 0:
                size = -errno
            PyBuffer_Release(&view)
            if size > 0:
                self.tell_updated(NULL, size)
        finally:
            PyContext_Exit(<PyObject *>context)
        return size

    cdef int note_short(self, Py_ssize_t size) except -1:
        """Small reads for a while: this connection is no bulk sender any more."""
        if size >= SHORT_BYTES:
            self.short_count = 0
            return 0
        self.short_count += 1
        if self.short_count == SHORT_READS:
            self.short_count = 0
            self.full_count = 0
            self.in_bulk = not self.loop.multishot
        return 0

    # ---- writing

    cdef Py_ssize_t unsent(self) noexcept:
        # A plain number: cannot raise.
        return 0 if self.backlog is None else self.backlog.bytes_count

    def write(self, data):
        """Send, or keep what the socket does not take; see pause_writing().

        The memory of `data` may be changed or freed when this returns. Raises
        TypeError for what is not bytes-like, RuntimeError after write_eof().
        """
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            if self.may_write(data):
                self.write_memory(
                    data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            return
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be {WRITABLE_TYPES}, not "
                            f"{type(data).__name__!r}")
        if not self.may_write(data):
            return
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except BufferError as exc:
            self.fatal_error(exc, "Fatal write error on socket transport")
            return
        try:
            self.write_memory(None, <const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def writelines(self, list_of_data):
        """write() for all of an iterable of bytes-like objects at once."""
        if self.eof_asked:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        if list_of_data:
            self.write(join_lines(list_of_data))

    cdef bint may_write(self, data) except -1:
        if self.eof_asked:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not self.conn_lost:
            return True
        if data:
            if self.conn_lost >= WARN_AFTER:
                logger.warning("socket.send() raised exception.")
            self.conn_lost += 1
        return False

    cdef int write_memory(self, bytes owner, const char *data,
                          Py_ssize_t size) except -1:
        """`owner` holds the memory and never changes; None: copy what is kept."""
        cdef Py_ssize_t sent = 0
        if size == 0:
            return 0
        if self.loop.held_writer is not None and self.loop.held_writer is not self:
            # Elsewhere, what was written first is sent first, too.
            self.loop.held_writer.flush_held()
        if self.backlog is None:
            if (self.writes_piecemeal(self.loop.step_number) and size < HOLD_BYTES):
                return self.hold_back(
                    PyBytes_FromStringAndSize(data, size) if owner is None else owner)
            sent = self.send_now(data, size)
            if sent == size or sent < 0:
                return 0
            self.backlog = Backlog()
        if owner is None:
            owner = PyBytes_FromStringAndSize(data + sent, size - sent)
            sent = 0
        self.backlog.append(owner, sent)
        if self.loop.held_writer is self:
            self.writes_piecemeal(self.loop.step_number)
            return 0 if self.backlog.bytes_count < HOLD_BYTES else self.flush_held()
        self.watch_writable()
        return self.pause_protocol_if_full()

    cdef int hold_back(self, bytes data) except -1:
        """Wait for the next piece, until flush_held()."""
        if self.flush is None:
            self.flush = WritePoll(self)
        self.flush.context = PyContext_CopyCurrent()
        self.backlog = Backlog()
        self.backlog.append(data, 0)
        self.loop.held_writer = self
        self.loop.held_since_ns = now_ns()
        return 0

    cdef int flush_held(self) except -1:
        cdef Py_ssize_t sent
        if self.loop.held_writer is not self:
            return 0
        self.loop.held_writer = None
        if self.loop.ring.is_forked():
            # The parent sends it.
            self.backlog = None
            return 0
        self.note_flushed(len(self.backlog.chunks), now_ns() - self.loop.held_since_ns)
        sent = self.backlog.send(self.fd)
        if sent < 0 and sent != -EAGAIN and sent != -EINTR:
            return self.fatal_error(
                os_error(<int>sent), "Fatal write error on socket transport")
        if self.backlog.bytes_count == 0:
            self.backlog = None
            return 0
        if not self.flush.in_flight:
            self.loop.ring.prepare(self.flush)
        return self.pause_protocol_if_full()

    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -2:
        """How much the socket took; -1 if the connection has failed."""
        cdef Py_ssize_t sent = send_bytes(self.fd, data, size)
        if sent >= 0:
            return sent
        if sent == -EAGAIN or sent == -EINTR:
            return 0
        self.fatal_error(os_error(<int>sent), "Fatal write error on socket transport")
        return -1

    cdef int writable(self, int res) except -1:
        cdef object context = self.flush.context
        if res > 0 and res & (POLLERR | POLLHUP) and self.receive.in_flight:
            # The receive has the socket's error, and asyncio reads before it writes:
            # a send now would only learn of a broken pipe.
            self.loop.call_soon_fast(self._send_backlog, (), context)
            return 0
        PyContext_Enter(<PyObject *>context)
        try:
            self.send_backlog()
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    def _send_backlog(self):
        if self.backlog is not None and not self.flush.in_flight:
            self.send_backlog()

    cdef int send_backlog(self) except -1:
        """The socket has room again: send as much as it takes."""
        cdef Py_ssize_t sent = self.backlog.send(self.fd)
        if sent < 0 and sent != -EAGAIN and sent != -EINTR:
            return self.send_failed(os_error(<int>sent))
        try:
            self.resume_protocol_if_drained()
        finally:
            if self.conn_lost == 0 and self.backlog.bytes_count:
                self.watch_writable()
            elif self.conn_lost == 0:
                self.backlog_sent()
        return 0

    cdef int backlog_sent(self) except -1:
        """Everything is out: do what waited for that."""
        self.backlog = None
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.closing:
            self.conn_lost += 1
            try:
                self._call_connection_lost(None)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.report("protocol.connection_lost() failed", exc)
        elif self.eof_asked:
            try:
                self.socket_object().shutdown(socket.SHUT_WR)
            except OSError as exc:
                self.fatal_error(exc, "Fatal write error on socket transport")
        return 0

    cdef int send_failed(self, exc) except -1:
        waiter = self.empty_waiter
        self.fatal_error(exc, "Fatal write error on socket transport")
        if waiter is not None and not waiter.done():
            waiter.set_exception(exc)
        return 0

    cdef int drop_unsent(self) except -1:
        self.backlog = None
        self.loop.cancel(self.flush)
        return 0

    def can_write_eof(self):
        return True

    def write_eof(self):
        """Send what is buffered, then end the writing side."""
        self.flush_held()
        if self.closing or self.eof_asked:
            return
        self.eof_asked = True
        if self.backlog is None:
            self.socket_object().shutdown(socket.SHUT_WR)

    # ---- for the stdlib's sendfile

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.flush_held()
        self.empty_waiter = self.loop.create_future()
        if self.backlog is None:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None

    def _call_connection_lost(self, exc):
        Transport._call_connection_lost(self, exc)
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_exception(
                ConnectionError("Connection is closed by peer"))
