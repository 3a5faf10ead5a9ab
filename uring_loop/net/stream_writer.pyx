"""The writing half of the stream transport.

write() tries send(2) at once: the result is known, back-pressure is simple, and no
memory of a Python object is ever in the kernel's hands. What the socket does not take
waits for one poll for POLLOUT, then goes out gathered with sendmsg(2). With
DEFER_TASKRUN such direct calls cost nothing extra beside a ring. Where other callbacks
are ready the call is made when they have run: see gather.pyx.

Where memory for the rest of a write is missing, the connection ends with the
MemoryError: part of the bytes may be out, and later ones must not follow a gap.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE)
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, EPIPE
from libc.string cimport memcpy

import socket
from asyncio import constants, selector_events

from uring_loop._compat import (
    WRITELINES_JOINS, WRITELINES_SKIPS_FALSE, writable_types)
from uring_loop.driver.capi cimport (
    FREE_THREADED, PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit)
from uring_loop.driver.libc cimport POLLERR, POLLHUP, POLLOUT
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport ECANCELED
from uring_loop.net.backlog cimport Backlog, send_bytes
from uring_loop.net.gather cimport (
    BULK_WRITE_BYTES, HOLD_BYTES, SECURED_HOLD_BYTES, has_company)
from uring_loop.net.transport cimport Transport

logger = selector_events.logger
cdef str WRITABLE_TYPES = writable_types()
cdef str WRITE_ERROR = "Fatal write error on socket transport"
cdef enum:
    # Held pieces are joined up to this size.
    JOIN_BYTES = 2048
cdef Py_ssize_t WARN_AFTER = constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES


cdef class StreamWriter(Transport):
    """Base of the stream transport: all that writes."""

    @property
    def _eof(self):
        return self.eof_asked

    cdef Py_ssize_t unsent(self) noexcept:
        # A plain number: cannot raise. What is held back counts as sent.
        return 0 if self.backlog is None or self.is_held else self.backlog.bytes_count

    def write(self, data):
        """Send, or keep what the socket does not take; see pause_writing().

        The memory of `data` may be changed or freed when this returns. Raises
        TypeError for what is not bytes-like, RuntimeError after write_eof().
        """
        cdef Py_buffer view
        cdef bint borrowed = False
        if FREE_THREADED:
            self.loop.refuse_elsewhere()
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
            borrowed = True
        except BufferError as exc:
            self.fatal_error(exc, WRITE_ERROR)
        if borrowed:
            try:
                self.write_memory(None, <const char *>view.buf, view.len)
            finally:
                PyBuffer_Release(&view)

    def writelines(self, list_of_data):
        """write() for all of an iterable of bytes-like objects at once."""
        if FREE_THREADED:
            self.loop.refuse_elsewhere()
        if WRITELINES_JOINS:
            self.write(b"".join(list_of_data))
            return
        if self.eof_asked:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        if not list_of_data:
            return
        # The TypeError for other objects is memoryview's, before anything is sent.
        views = [memoryview(line) for line in list_of_data
                 if line or not WRITELINES_SKIPS_FALSE]
        for view in views:
            if not view.c_contiguous:
                # Nothing is sent: write() meets the BufferError.
                self.write(view)
                return
        self.write(b"".join(views))

    cdef bint may_write(self, data) except -1:
        if self.eof_asked:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not (self.conn_lost or self.broken):
            return True
        if data and self.conn_lost:
            if self.conn_lost >= WARN_AFTER:
                logger.warning("socket.send() raised exception.")
            self.conn_lost += 1
        elif not self.conn_lost:
            self.fail(MemoryError(), WRITE_ERROR)
        return False

    cdef int write_memory(self, bytes owner, const char *data,
                          Py_ssize_t size) except -1:
        """`owner` holds the memory and never changes; None: copy what is kept."""
        if size == 0:
            return 0
        if self.backlog is not None and not self.is_held:
            return self.keep(owner, data, size, 0)
        if size < BULK_WRITE_BYTES:
            if self.may_hold(False):
                return self.hold_back(owner, data, size)
        elif owner is not None and self.may_hold(True):
            return self.hold_back(owner, data, size)
        if self.loop.held.first is None:
            return self.write_now(owner, data, size)
        try:
            # What was written first is sent first.
            self.loop.held.flush()
        finally:
            # Even if a pause_writing() was interrupted: this write must not be lost.
            self.write_now(owner, data, size)
        return 0

    cdef int write_chunks(self, list chunks) except -1:
        """write() of all these bytes objects joined, which are not empty."""
        cdef bytes chunk = chunks[0]
        if len(chunks) == 1:
            return self.write_memory(
                chunk, PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
        try:
            # What was written first is sent first.
            self.loop.held.flush()
        finally:
            # Even if a pause_writing() was interrupted, as in write_memory().
            if not self.conn_lost:
                self.send_chunks(chunks)
        return 0

    cdef int send_chunks(self, list chunks) except -1:
        cdef bint full = self.backlog is not None
        cdef bytes chunk
        cdef Py_ssize_t sent = 0
        try:
            for chunk in chunks:
                self.add_to_backlog(chunk, NULL, PyBytes_GET_SIZE(chunk), 0)
            if not full:
                sent = self.backlog.send(self.current_fd())
        except MemoryError as exc:
            self.fail(exc, WRITE_ERROR)
        if self.backlog is None:
            return 0
        self.count_sent(sent)
        if self.backlog.bytes_count == 0:
            self.backlog = None
            return 0
        return self.send_rest(None, sent)

    cdef int write_now(self, bytes owner, const char *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t sent = 0
        if self.backlog is None:
            if self.conn_lost:
                # The flush has ended the connection.
                return 0
            sent = self.send_now(data, size)
            if sent == size or sent < 0:
                return 0
        return self.keep(owner, data, size, sent)

    cdef int keep(self, bytes owner, const char *data, Py_ssize_t size,
                  Py_ssize_t sent) except -1:
        """Keep what the socket has not taken, behind what is kept already."""
        try:
            self.add_to_backlog(owner, data, size, sent)
            self.watch_writable()
        except (MemoryError, OSError) as exc:
            self.fail(exc, WRITE_ERROR)
        return 0 if self.backlog is None else self.pause_protocol_if_full()

    cdef int add_to_backlog(self, bytes owner, const char *data, Py_ssize_t size,
                            Py_ssize_t sent) except -1:
        cdef Backlog backlog = self.backlog
        if owner is None:
            owner = PyBytes_FromStringAndSize(data + sent, size - sent)
            sent = 0
        if backlog is None:
            backlog = Backlog()
        backlog.append(owner, sent)
        self.backlog = backlog
        return 0

    # ---- writes that are held back: see gather.pyx

    cdef int hold_back(self, bytes owner, const char *data, Py_ssize_t size) except -1:
        """Wait for send_held(), which sends more than one piece together."""
        cdef Py_ssize_t held = size
        try:
            if self.is_held:
                held = self.hold_more(owner, data, size)
            else:
                self.hold_first(owner, data, size)
        except MemoryError as exc:
            self.fail(exc, WRITE_ERROR)
        # By its flow control, a program notices how much the socket has not taken; but
        # not that below TLS.
        if held > (SECURED_HOLD_BYTES if self.secured
                   else min(HOLD_BYTES, self.high_water)):
            return self.flush_held()
        return 0

    cdef int hold_first(self, bytes owner, const char *data, Py_ssize_t size) except -1:
        if owner is None:
            owner = PyBytes_FromStringAndSize(data, size)
        self.held_context = PyContext_CopyCurrent()
        self.held_data = owner
        return self.loop.held.add(self, not has_company(self.loop))

    cdef Py_ssize_t hold_more(self, bytes owner, const char *data,
                              Py_ssize_t size) except -1:
        """Returns how much waits now. A few short pieces become one: cheaper than to
        hand several to the kernel."""
        cdef bytes first = self.held_data
        cdef Py_ssize_t first_size
        cdef bytes joined
        if first is not None:
            first_size = PyBytes_GET_SIZE(first)
            if first_size + size <= JOIN_BYTES:
                joined = PyBytes_FromStringAndSize(NULL, first_size + size)
                memcpy(PyBytes_AS_STRING(joined), PyBytes_AS_STRING(first), first_size)
                memcpy(PyBytes_AS_STRING(joined) + first_size, data, size)
                self.held_data = joined
                return first_size + size
            self.add_to_backlog(first, NULL, first_size, 0)
            self.held_data = None
        self.add_to_backlog(owner, data, size, 0)
        return self.backlog.bytes_count

    cdef int send_held(self) except -1:
        cdef object context = self.held_context
        cdef bytes data = self.held_data
        cdef Py_ssize_t sent
        self.held_context = None
        self.held_data = None
        if self.loop.ring.is_forked():
            # The parent sends it.
            self.backlog = None
            return 0
        self.note_sent()
        if data is not None:
            sent = send_bytes(self.current_fd(), PyBytes_AS_STRING(data),
                              PyBytes_GET_SIZE(data))
            self.count_sent(sent)
            if sent == PyBytes_GET_SIZE(data):
                return 0
        else:
            sent = self.backlog.send(self.current_fd())
            self.count_sent(sent)
            if self.backlog.bytes_count == 0:
                self.backlog = None
                return 0
        # In the context of the write, as if it had been sent there.
        PyContext_Enter(<PyObject *>context)
        try:
            self.send_rest(data, sent)
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int send_rest(self, bytes data, Py_ssize_t sent) except -1:
        """The socket has not taken all of `data`, or of the backlog: keep the rest."""
        if sent < 0 and sent != -EAGAIN and sent != -EINTR:
            return self.fatal_error(self.send_error(sent), WRITE_ERROR)
        if data is not None:
            return self.keep(data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                             max(sent, 0))
        try:
            self.watch_writable()
        except (MemoryError, OSError) as exc:
            self.fail(exc, WRITE_ERROR)
        return 0 if self.backlog is None else self.pause_protocol_if_full()

    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -2:
        """The number of bytes sent; -1 if the connection has failed."""
        cdef Py_ssize_t sent = send_bytes(self.current_fd(), data, size)
        if sent >= 0:
            self.count_sent(sent)
            return sent
        if sent == -EAGAIN or sent == -EINTR:
            return 0
        self.fatal_error(self.send_error(sent), WRITE_ERROR)
        return -1

    cdef void count_sent(self, Py_ssize_t sent) noexcept:
        # A plain number: cannot raise.
        if sent > 0:
            self.loop.sent_bytes += sent

    cdef object send_error(self, Py_ssize_t res):
        """The exception for a send(2) that failed.

        A socket tells its error once. If the receive has taken a reset's ECONNRESET,
        which the protocol has not heard yet, send(2) knows only of a broken pipe.
        """
        cdef int first = self.pending_end
        if res == -EPIPE:
            if first >= 0:
                first = self.loop.ring.posted_result(self.receive)
            if first < 0 and first != -ECANCELED and first != -ENOBUFS:
                res = first
        return os_error(<int>res)

    cdef int writable(self, int res) except -1:
        cdef object context
        if res > 0 and not res & POLLOUT:
            # Hung up without room: another poll would complete at once.
            self.polls_in_vain = True
        try:
            if self.room_watch is not None:
                # It has a context of its own.
                return self.send_backlog()
            context = self.flush.context
            if res > 0 and res & (POLLERR | POLLHUP) and self.receive.in_flight:
                # The receive has the socket's error, and asyncio reads before it
                # writes: a send now would only learn of a broken pipe.
                self.loop.call_soon_fast(self._send_backlog, (), context)
                return 0
            PyContext_Enter(<PyObject *>context)
            try:
                self.send_backlog()
            finally:
                PyContext_Exit(<PyObject *>context)
        except MemoryError as exc:
            self.fail(exc, WRITE_ERROR)
        return 0

    def _send_backlog(self):
        if self.backlog is not None and not self.flush.in_flight:
            self.send_backlog()

    cdef int send_backlog(self) except -1:
        """The socket may have room again: send as much as it takes."""
        cdef Py_ssize_t sent
        if self.backlog is None:
            return 0
        sent = self.backlog.send(self.current_fd())
        self.count_sent(sent)
        if sent < 0 and sent != -EAGAIN and sent != -EINTR:
            return self.send_failed(self.send_error(sent))
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
        self.unwatch_room()
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
                self.fatal_error(exc, WRITE_ERROR)
        return 0

    cdef int send_failed(self, exc) except -1:
        waiter = self.empty_waiter
        try:
            self.fatal_error(exc, WRITE_ERROR)
        finally:
            if waiter is not None and not waiter.done():
                waiter.set_exception(exc)
        return 0

    cdef int drop_unsent(self) except -1:
        self.backlog = None
        return self.unwatch_writable()

    def can_write_eof(self):
        return True

    def write_eof(self):
        """Send what is buffered, then end the writing side."""
        if FREE_THREADED:
            self.loop.refuse_elsewhere()
        try:
            self.flush_held()
        finally:
            # Also if pause_writing() was interrupted.
            self.end_writing()

    cdef int end_writing(self) except -1:
        if self.closing or self.eof_asked:
            return 0
        self.eof_asked = True
        if self.backlog is None:
            self.socket_object().shutdown(socket.SHUT_WR)
        return 0

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
        try:
            Transport._call_connection_lost(self, exc)
        finally:
            if self.empty_waiter is not None and not self.empty_waiter.done():
                self.empty_waiter.set_exception(
                    ConnectionError("Connection is closed by peer"))
