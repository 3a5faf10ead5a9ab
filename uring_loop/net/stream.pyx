"""The stream transport (TCP and Unix sockets), and its reading half.

Reading has three modes, and never more than one request in flight:

small      One multishot receive into the loop's pool. A completion brings the bytes, no
           further system call is needed. They are copied out, and the buffer goes back.
bulk       A connection that fills whole pool buffers would fill many cold ones. It gets
           a one-shot poll instead, and recv(2) into one buffer that stays in the cache,
           or straight into the memory of a BufferedProtocol. A connection for which no
           pool buffer is left reads this way, too.
readiness  As bulk, but the loop's watch set says when to read: for sockets that belong
           to the user, where a request in flight would hold the file (transport.pyx).

Bytes that were taken from the socket are delivered, in order. An interruption
(KeyboardInterrupt, SystemExit) in a protocol's method puts back what the protocol has
not been given. Where memory to deliver or keep them is missing, the connection ends
with the MemoryError; nothing is delivered after a gap.
"""

cimport cython
from cpython.buffer cimport (
    PyBuffer_Release)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOBUFS, errno
from libc.string cimport memcpy, memset

import collections
from asyncio import constants, protocols, selector_events

from uring_loop.driver.buffer_pool cimport STREAM_GROUP, BufferPool
from uring_loop.driver.capi cimport (
    PyBytes_FromStringAndSize_raw, PyContext_Enter, PyContext_Exit,
    PyObject_CallMethodOneArg)
from uring_loop.driver.libc cimport (
    IPPROTO_TCP, MSG_DONTWAIT, TCP_NODELAY, iovec, msghdr, recv, recvmsg, setsockopt)
from uring_loop.driver.ring cimport Operation, os_error
from uring_loop.driver.uapi cimport (
    ECANCELED, IORING_CQE_F_MORE, IOSQE_BUFFER_SELECT, io_uring_prep_recv_multishot,
    io_uring_sqe)
from uring_loop.net.stream_writer cimport StreamWriter
from uring_loop.net.tls cimport SSLCore
from uring_loop.net.transport cimport Transport, get_writable
from uring_loop.scheduler.loop_core cimport BULK_BYTES, LoopCore

logger = selector_events.logger
cdef object BufferedProtocol = protocols.BufferedProtocol
cdef str DATA_RECEIVED = "data_received"
cdef str DATA_RECEIVED_FAILED = "Fatal error: protocol.data_received() call failed."
cdef str GET_BUFFER_FAILED = "Fatal error: protocol.get_buffer() call failed."
cdef str BUFFER_UPDATED_FAILED = "Fatal error: protocol.buffer_updated() call failed."
cdef str EOF_RECEIVED_FAILED = "Fatal error: protocol.eof_received() call failed."
cdef str READ_ERROR = "Fatal read error on socket transport"
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


cdef class StreamTransport(StreamWriter):
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

    def __init__(self, LoopCore loop, sock, protocol, waiter=None, extra=None,
                 server=None, user_socket=False, context=None):
        if user_socket:
            # Its owner has the descriptor, too.
            self.user_socket = self.exposed = True
            self.by_readiness = loop.ring.holds_files
        self.own_context = context
        self.open(loop, sock, protocol, extra, server)
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
        self.secured = self.tls is not None
        return Transport.take_protocol(self, protocol)

    # ---- completions of the receive

    cdef bint open_pool(self) except -1:
        return self.loop.open_pool()

    cdef int stop_reading(self) except -1:
        self.pending_end = NO_END
        return Transport.stop_reading(self)

    cdef int received(self, int size, unsigned flags) except -1:
        cdef BufferPool pool = self.loop.pool
        cdef PyObject *raw
        cdef bytes data
        if self.closing or self.loop._closed or self.broken:
            pool.give_back(flags)
            return self.fail_again()
        self.data_step = self.loop.step_number
        self.loop.received_bytes += size
        if self.buffered and not self.paused and self.pending is None:
            try:
                self.fill_buffer(pool.borrow(flags), size)
            finally:
                pool.give_back(flags)
            return self.note_size(size)
        # A pointer: the `try` for a MemoryError would cost each message.
        raw = PyBytes_FromStringAndSize_raw(pool.borrow(flags), size)
        pool.give_back(flags)
        if raw == NULL:
            return self.fail_raised(READ_ERROR)
        data = <bytes>raw
        Py_DECREF(data)
        if self.paused or self.pending is not None:
            # Received before the pause took effect: kept, in order.
            self.keep_data(data)
        else:
            self.deliver(data)
        return self.note_size(size)

    cdef int keep_data(self, bytes data) except -1:
        """Deliver it behind what is pending."""
        try:
            if self.pending is None:
                self.pending = collections.deque()
            self.pending.append(data)
        except MemoryError as exc:
            self.fail(exc, READ_ERROR)
        return 0

    cdef int fail_again(self) except -1:
        """There was no memory to end a broken connection: try once more."""
        if self.broken and not (self.conn_lost or self.loop._closed):
            self.fail(MemoryError(), READ_ERROR)
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
        if self.closing or self.loop._closed or self.broken:
            return self.fail_again()
        self.eof_seen = True
        # Kept also in the iteration that brought data: on asyncio, what
        # data_received() has just started runs before the end is read.
        if not (self.paused or self.pending is not None
                or self.data_step == self.loop.step_number):
            return self.deliver_end(res)
        return self.keep_end(res)

    cdef int keep_end(self, int res) except -1:
        """Deliver the end in a later iteration, behind what is pending."""
        self.pending_end = res
        try:
            if self.pending is None:
                self.pending = collections.deque()
            if not self.paused:
                self.schedule_delivery()
        except MemoryError as exc:
            self.fail(exc, READ_ERROR)
        return 0

    # ---- calls of the protocol

    cdef int deliver(self, bytes data) except -1:
        cdef PyObject *result
        cdef object protocol = self.protocol
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        # A pointer, not an object: see run_handle in handles.pyx.
        result = PyObject_CallMethodOneArg(
            <PyObject *>protocol, <PyObject *>DATA_RECEIVED, <PyObject *>data)
        if result == NULL:
            return self.delivery_failed(context)
        PyContext_Exit(<PyObject *>context)
        Py_XDECREF(result)
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return 0

    cdef int delivery_failed(self, context) except -1:
        """data_received() has raised an exception. The connection ends in the context
        of that call, which is left then."""
        try:
            self.fail_raised(DATA_RECEIVED_FAILED)
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int fill_buffer(self, const char *data, Py_ssize_t size) except -1:
        """Copy into the protocol's own memory, in as many rounds as it takes.

        The rest is put back if the protocol pauses reading, is replaced by one of the
        other kind, or is interrupted.
        """
        cdef Py_buffer view
        cdef Py_ssize_t room
        cdef Py_ssize_t done = 0
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        try:
            while done < size and not self.closing and not self.loop.ring.is_forked():
                if self.paused or not self.buffered:
                    break
                if self.tls is not None and self.tls.takes_data():
                    room = done
                    done = size
                    self.tell_updated(data + room, size - room)
                    break
                if self.borrow_buffer(&view):
                    room = min(size - done, view.len)
                    memcpy(view.buf, data + done, room)
                    PyBuffer_Release(&view)
                    done += room
                    self.tell_updated(NULL, room)
        finally:
            PyContext_Exit(<PyObject *>context)
            if done < size and not self.closing:
                self.put_back(data + done, size - done)
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return 0

    cdef int put_back(self, const char *data, Py_ssize_t size) except -1:
        """Deliver it in a later iteration, before everything newer."""
        if self.loop.ring.is_forked():
            # The parent delivers it.
            return 0
        try:
            if self.pending is None:
                self.pending = collections.deque()
            self.pending.appendleft(PyBytes_FromStringAndSize(data, size))
            if not self.paused:
                self.schedule_delivery()
        except MemoryError as exc:
            self.fail(exc, READ_ERROR)
        return 0

    cdef bint borrow_buffer(self, Py_buffer *view) except -1:
        """The memory of the protocol's buffer; False if it has none to give, and the
        connection ends."""
        cdef bint borrowed = False
        message = GET_BUFFER_FAILED
        try:
            buffer = self.protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            message = READ_ERROR
            get_writable(buffer, view)
            borrowed = True
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, message)
        return borrowed

    cdef int tell_updated(self, const char *data, Py_ssize_t size) except -1:
        """buffer_updated(size); with `data`, our TLS is fed from that memory instead.
        """
        try:
            if data != NULL:
                self.tls.feed(data, size)
            else:
                self.protocol.buffer_updated(size)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, BUFFER_UPDATED_FAILED)
        return 0

    cdef int deliver_end(self, int res) except -1:
        cdef object context = self.context
        PyContext_Enter(<PyObject *>context)
        try:
            if res < 0:
                self.deliver_error(res)
            else:
                self.deliver_eof(res)
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int deliver_error(self, int res) except -1:
        # For a write that is held back: see send_error().
        self.pending_end = res
        return self.fatal_error(os_error(res), READ_ERROR)

    cdef int deliver_eof(self, int res) except -1:
        if self.loop.debug:
            logger.debug("%r received EOF", self)
        try:
            if not self.protocol.eof_received():
                self.close()
        except (SystemExit, KeyboardInterrupt):
            # As on asyncio, which reads the end once more.
            if not self.closing:
                self.keep_end(res)
            raise
        except BaseException as exc:
            self.fail(exc, EOF_RECEIVED_FAILED)
        return 0

    def _deliver_pending(self):
        """What came before a pause took effect, once reading is wanted again."""
        cdef object pending = self.pending
        cdef bytes data
        cdef int end
        if self.broken:
            self.fail_again()
            return
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
                    self.deliver_later()
            return
        if self.paused or self.closing:
            return
        self.pending = None
        if self.pending_end != NO_END:
            end = self.pending_end
            self.pending_end = NO_END
            self.deliver_end(end)
        self.read_on()

    cdef int deliver_later(self) except -1:
        try:
            self.schedule_delivery()
        except MemoryError as exc:
            self.fail(exc, READ_ERROR)
        return 0

    # ---- reading in bulk

    cdef int readable(self) except -1:
        """One recv(2) of as much as there is."""
        cdef ssize_t size = -EAGAIN
        if not self.wants_data():
            return 0
        if self.broken:
            return self.fail_again()
        try:
            if self.buffered:
                size = self.read_bulk_buffered()
            else:
                size = self.read_bulk()
        except MemoryError as exc:
            # No `return` here: Cython's would crash if there was no memory for the
            # traceback.
            self.fail(exc, READ_ERROR)
        if size > 0:
            self.loop.received_bytes += size
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
        size = recv(self.current_fd(), memory, BULK_BYTES, MSG_DONTWAIT)
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
        size = recvmsg(self.current_fd(), &message, MSG_DONTWAIT)
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
            if self.tls is not None and self.tls.takes_data():
                return self.read_bulk_tls()
            if not self.borrow_buffer(&view):
                return -EAGAIN
            size = recv(self.current_fd(), view.buf, view.len, MSG_DONTWAIT)
            if size < 0:
                size = -errno
            PyBuffer_Release(&view)
            if size > 0:
                self.tell_updated(NULL, size)
        finally:
            PyContext_Exit(<PyObject *>context)
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return size

    cdef ssize_t read_bulk_tls(self) except? -1:
        """The same into one buffer that stays in the cache: OpenSSL copies it."""
        cdef char *memory = self.loop.bulk_memory()
        cdef ssize_t size = recv(self.current_fd(), memory, BULK_BYTES, MSG_DONTWAIT)
        if size < 0:
            return -errno
        if size:
            self.tell_updated(memory, size)
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
