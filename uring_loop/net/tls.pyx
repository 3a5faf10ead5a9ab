"""TLS: the stdlib's SSLProtocol with its per-message methods compiled.

`SSLProtocol` is the stdlib's own class behind a compiled core, as `Loop` is. Handshake,
shutdown, timeouts, errors and everything else that happens once per connection is
inherited. The core holds the fields that both use.

After the handshake, data passes through an SSLConnection, that is OpenSSL without ssl,
where that can be trusted (tls_trust.py), and else through ssl. With ssl the core saves
Python frames; the read that would only raise SSLWantReadError, since it first checks
whether data is left; a buffer of 256 KiB for each connection and one for each record;
and the calls of ssl.SSLObject, which only forward to its C object.
"""

from cpython.buffer cimport (
    PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.memoryview cimport PyMemoryView_FromMemory

import _ssl
import ssl
from asyncio import sslproto

from uring_loop.net import tls_trust

from uring_loop.driver.capi cimport FREE_THREADED
from uring_loop.net.ssl_connection cimport SSLConnection
from uring_loop.net.stream_writer cimport StreamWriter
from uring_loop.scheduler.loop_core cimport LoopCore

cdef object WANT_MORE = sslproto.SSLAgainErrors
cdef object WRAPPED = sslproto.SSLProtocolState.WRAPPED
cdef object FLUSHING = sslproto.SSLProtocolState.FLUSHING
# The most bytes per read: the plaintext of one record.
cdef Py_ssize_t RECORD_BYTES = 16384
StockProtocol = sslproto.SSLProtocol
RAW_TYPE = _ssl._SSLSocket
STREAM_WRITE = StreamWriter.write


cdef class SSLCore:
    """The hot part of a TLS connection; the base class before the stdlib's
    SSLProtocol."""

    @property
    def _sslobj(self):
        return self.sslobj

    @_sslobj.setter
    def _sslobj(self, sslobj):
        # ssl.SSLObject forwards to its C object: look up the C object's methods once.
        # A class derived from it, as by SSLContext.sslobject_class, has its own.
        self.sslobj = sslobj
        self.connection = None
        raw = sslobj._sslobj if type(sslobj) is ssl.SSLObject else sslobj
        self.read_raw = None if raw is None else raw.read
        self.write_raw = None if raw is None else raw.write
        self.pending_raw = None if raw is None else raw.pending

    def _set_read_buffer_limits(self, *args, **kwargs):
        StockProtocol._set_read_buffer_limits(self, *args, **kwargs)
        self.incoming_high = self._incoming_high_water
        self.incoming_low = self._incoming_low_water

    def _set_write_buffer_limits(self, *args, **kwargs):
        StockProtocol._set_write_buffer_limits(self, *args, **kwargs)
        self.outgoing_high = self._outgoing_high_water
        self.outgoing_low = self._outgoing_low_water

    def _on_handshake_complete(self, handshake_exc):
        if handshake_exc is None:
            self.use_openssl()
        StockProtocol._on_handshake_complete(self, handshake_exc)

    cdef int use_openssl(self) except -1:
        """From now on data passes through an SSLConnection, if that can be trusted."""
        memory = self._loop._tls_output_memory()
        # A message callback of the context raises exceptions that only ssl can tell.
        if (memory is None or type(self.sslobj) is not ssl.SSLObject
                or type(self.sslobj._sslobj) is not RAW_TYPE
                or type(self._incoming) is not ssl.MemoryBIO
                or type(self._outgoing) is not ssl.MemoryBIO
                or self.sslobj.context._msg_callback is not None):
            return 0
        try:
            self.connection = SSLConnection(
                self.sslobj._sslobj, tls_trust.verdict().offset, self._incoming,
                self._outgoing, memory)
        except ValueError:
            # A context of another kind has wrapped other objects: ssl goes on.
            pass
        # A class derived from ours may have its own write().
        self.over_stream = (isinstance(self._transport, StreamWriter)
                            and type(self._transport).write is STREAM_WRITE)
        return 0

    # ---- reading

    def get_buffer(self, n):
        return self._ssl_buffer_view

    def buffer_updated(self, nbytes):
        if self._state is not WRAPPED:
            StockProtocol.buffer_updated(self, nbytes)
            return
        self._incoming.write(self._ssl_buffer_view[:nbytes])
        self.read_again()

    cdef bint takes_data(self) noexcept:
        """May feed() be called instead of get_buffer() and buffer_updated()?"""
        return self._state is WRAPPED

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        """Take received records from the caller's memory, which is not needed then."""
        if self.connection is None:
            self._incoming.write(
                PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        elif self._app_reading_paused or self._app_protocol_is_buffer:
            self.connection.keep_input(data, size)
        else:
            return self.read_available(data, size)
        return self.read_available(NULL, 0)

    def _do_read(self):
        if self._state is WRAPPED or self._state is FLUSHING:
            self.read_again()

    cdef int read_again(self) except -1:
        """Read what has been put into `_incoming`, here or by others."""
        if self.connection is not None:
            self.connection.look_for_input()
        return self.read_available(NULL, 0)

    cdef int read_available(self, const char *data, Py_ssize_t size) except -1:
        """Decrypt and deliver what has been received, with `data` as its end."""
        try:
            if not self._app_reading_paused:
                if self.connection is None:
                    if self._app_protocol_is_buffer:
                        StockProtocol._do_read__buffered(self)
                    else:
                        self.read_records()
                elif self._app_protocol_is_buffer:
                    self.read_buffered()
                else:
                    self.read_plaintext(data, size)
                if self._write_backlog:
                    self._do_write()
                else:
                    self.send_outgoing()
            self.control_reading()
        except (SystemExit, KeyboardInterrupt):
            # The rest is in OpenSSL's buffers, and no event of the socket reports it:
            # continue to read when the loop runs again.
            self._loop.call_soon(self._do_read)
            raise
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
        return 0

    cdef int read_plaintext(self, const char *data, Py_ssize_t size) except -1:
        """Deliver everything that can be decrypted in one call of the protocol."""
        cdef SSLConnection connection = self.connection
        cdef bytes plaintext
        connection.ended = False
        plaintext = connection.decrypt(data, size)
        # The protocol may have more read.
        ended = connection.ended
        if plaintext is not None:
            self._app_protocol.data_received(plaintext)
        return self.end_received() if ended else 0

    cdef int read_buffered(self) except -1:
        """The same into the memory of a BufferedProtocol, as far as there is room."""
        cdef SSLConnection connection = self.connection
        cdef Py_buffer view
        cdef Py_ssize_t size
        cdef Py_ssize_t done = 0
        buffer = self._app_protocol_get_buffer(self._get_read_buffer_size())
        size = len(buffer)
        connection.ended = False
        try:
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        except (BufferError, TypeError):
            # ssl raises its own error.
            self.read_raw(size, buffer)
            raise
        try:
            size = min(size, view.len)
            # For an empty buffer, asyncio ends the connection.
            connection.ended = size == 0
            if size:
                done = connection.read_into(<char *>view.buf, size)
        finally:
            PyBuffer_Release(&view)
        ended = connection.ended
        if done == size and done:
            self._loop.call_soon(self._do_read)
        if done:
            self._app_protocol_buffer_updated(done)
        return self.end_received() if ended else 0

    cdef int end_received(self) except -1:
        """The peer's close_notify."""
        self._call_eof_received()
        self._start_shutdown()
        return 0

    cdef int read_records(self) except -1:
        """Deliver everything that can be decrypted in one call of the protocol."""
        cdef Py_ssize_t there
        cdef bytes chunk = None
        cdef bytes first = None
        cdef list rest = None
        # Plaintext is never longer than its records.
        there = self._incoming.pending
        if there == 0 or there > RECORD_BYTES:
            there = RECORD_BYTES
        try:
            while there:
                chunk = self.read_raw(there)
                if not chunk:
                    break
                if first is None:
                    first = chunk
                elif rest is None:
                    rest = [first, chunk]
                else:
                    rest.append(chunk)
                there = self.next_read_bytes(PyBytes_GET_SIZE(chunk) == there)
        except WANT_MORE:
            pass
        if rest is not None:
            self._app_protocol.data_received(b"".join(rest))
        elif first is not None:
            self._app_protocol.data_received(first)
        return self.end_received() if chunk is not None and not chunk else 0

    cdef Py_ssize_t next_read_bytes(self, bint filled) except -1:
        """The size of the next read; 0: no data is left.

        OpenSSL decrypts one record at a time, so it has decrypted bytes left only if
        the last read was `filled`.
        """
        cdef Py_ssize_t there = self._incoming.pending
        if filled:
            there += self.pending_raw()
        return min(there, RECORD_BYTES)

    # ---- writing

    cdef bint may_write(self) except -1:
        """Can data be encrypted now, with no earlier data waiting?"""
        return self._state is WRAPPED and not self._write_backlog

    cdef int write_bytes(self, bytes data) except -1:
        """Encrypt and send; bytes that OpenSSL does not accept wait in the backlog."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t count = 0
        try:
            count = self.encrypt(data)
            if count < size:
                self._write_backlog.append(data[count:])
                self._write_buffer_size += size - count
            self.send_outgoing()
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
        return 0

    def _do_write(self):
        cdef Py_ssize_t count
        backlog = self._write_backlog
        while backlog:
            data = backlog[0]
            count = self.encrypt(data)
            self._write_buffer_size -= count
            if count < len(data):
                backlog[0] = data[count:]
                if count == 0:
                    break
            else:
                del backlog[0]
        self.send_outgoing()

    cdef Py_ssize_t encrypt(self, data) except -1:
        """How many bytes were accepted."""
        cdef Py_buffer view
        cdef Py_ssize_t count = 0
        if self.connection is None:
            try:
                count = self.write_raw(data)
            except WANT_MORE:
                pass
            return count
        if PyBytes_CheckExact(data):
            return self.connection.write(
                PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.connection.write(<char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def _process_outgoing(self):
        self.send_outgoing()

    cdef int send_outgoing(self) except -1:
        """Write all of OpenSSL's output to the transport, if that wants more."""
        cdef Py_ssize_t size
        if self.connection is not None:
            if self.connection.chunk_bytes and not self._ssl_writing_paused:
                self.send_chunks(self.connection.take_chunks())
            self.send_collected()
        if not self._ssl_writing_paused and self.kept_output():
            self._transport.write(self._outgoing.read())
        size = self._write_buffer_size + self.outgoing_bytes()
        if (size <= self.outgoing_low if self._app_writing_paused
                else size >= self.outgoing_high):
            self._control_app_writing()
        return 0

    cdef int send_chunks(self, list chunks) except -1:
        """Long writes, each encrypted into a bytes object of its own."""
        cdef StreamWriter writer
        if not self.over_stream:
            self._transport.write(b"".join(chunks))
            return 0
        writer = self._transport
        return writer.write_chunks(chunks) if writer.may_write(True) else 0

    cdef int send_collected(self) except -1:
        """What the connection has collected in the loop's memory leaves that."""
        cdef SSLConnection connection = self.connection
        if not connection.output_bytes():
            return 0
        if self._ssl_writing_paused:
            return connection.keep_output()
        try:
            # Until it is sent, other code that this calls cannot use the memory.
            return self.send_memory(connection.take_output())
        finally:
            connection.output.busy = False

    cdef int send_memory(self, Py_ssize_t size) except -1:
        cdef char *memory = self.connection.output.start
        cdef StreamWriter writer
        if not self.over_stream:
            self._transport.write(PyBytes_FromStringAndSize(memory, size))
            return 0
        writer = self._transport
        if writer.may_write(True):
            writer.write_memory(None, memory, size)
        return 0

    cdef Py_ssize_t incoming_bytes(self) except -1:
        if self.connection is not None:
            return self.connection.kept_input()
        return self._incoming.pending

    cdef Py_ssize_t kept_output(self) except -1:
        if self.connection is not None:
            return self.connection.kept_output()
        return self._outgoing.pending

    cdef Py_ssize_t outgoing_bytes(self) except -1:
        """All records that the transport has not been given."""
        if self.connection is not None:
            return self.connection.kept_output() + self.connection.chunk_bytes
        return self._outgoing.pending

    def _get_write_buffer_size(self):
        return self._write_buffer_size + self.outgoing_bytes()

    def connection_lost(self, exc):
        StockProtocol.connection_lost(self, exc)
        if self.connection is not None:
            self.connection.take_chunks()

    cdef int control_reading(self) except -1:
        """Call the stdlib's flow control if a water mark was crossed."""
        cdef Py_ssize_t size = self.incoming_bytes()
        if (size <= self.incoming_low if self._ssl_reading_paused
                else size >= self.incoming_high):
            self._control_ssl_reading()
        return 0


class SSLTransport(sslproto._SSLProtocolTransport):
    """The application's transport: the stdlib's, with write() compiled."""

    def write(self, data):
        cdef SSLCore core
        if FREE_THREADED:
            refuse_elsewhere(self)
        if PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data):
            core = self._ssl_protocol
            if core is not None and core.may_write():
                core.write_bytes(data)
                return
        sslproto._SSLProtocolTransport.write(self, data)

    if FREE_THREADED:
        # An SSL object is one thread's.
        def close(self):
            refuse_elsewhere(self)
            sslproto._SSLProtocolTransport.close(self)

        def _force_close(self, exc):
            refuse_elsewhere(self)
            sslproto._SSLProtocolTransport._force_close(self, exc)

        def pause_reading(self):
            refuse_elsewhere(self)
            sslproto._SSLProtocolTransport.pause_reading(self)

        def resume_reading(self):
            refuse_elsewhere(self)
            sslproto._SSLProtocolTransport.resume_reading(self)


cdef int refuse_elsewhere(transport) except -1:
    return (<LoopCore>transport._loop).refuse_elsewhere()


class SSLProtocol(SSLCore, StockProtocol):
    """The stdlib's SSLProtocol, with its hot methods compiled."""

    def __init__(self, LoopCore loop, *args, **kwargs):
        super().__init__(loop, *args, **kwargs)
        # Received bytes are passed to OpenSSL at once, so all connections share one hot
        # buffer; the stdlib has 256 KiB for each.
        self._ssl_buffer_view = loop.shared_buffer()
        self._ssl_buffer = self._ssl_buffer_view.obj

    def _get_app_transport(self):
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport
