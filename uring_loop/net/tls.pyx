"""TLS: the stdlib's SSLProtocol with its per-message methods compiled.

`SSLProtocol` is the stdlib's own class behind a compiled core, as `Loop` is. Handshake,
shutdown, timeouts, errors and everything else that happens once per connection is
inherited. The core holds the fields that both use.

The core saves Python frames; the read that would only raise SSLWantReadError, since it
first checks whether data is left; a buffer of 256 KiB for each connection and one for
each record; the calls of ssl.SSLObject, which only forward to its C object; and a copy
where a stream has the records in its own memory.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory

from asyncio import sslproto

from uring_loop.scheduler.loop_core cimport LoopCore

cdef object WANT_MORE = sslproto.SSLAgainErrors
cdef object WRAPPED = sslproto.SSLProtocolState.WRAPPED
cdef object FLUSHING = sslproto.SSLProtocolState.FLUSHING
# The most bytes per read: the plaintext of one record.
cdef Py_ssize_t RECORD_BYTES = 16384
StockProtocol = sslproto.SSLProtocol


cdef class SSLCore:
    """The hot part of a TLS connection; the base class before the stdlib's
    SSLProtocol."""

    @property
    def _sslobj(self):
        return self.sslobj

    @_sslobj.setter
    def _sslobj(self, sslobj):
        # ssl.SSLObject forwards to its C object: look up the C object's methods once.
        self.sslobj = sslobj
        raw = None if sslobj is None else sslobj._sslobj
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

    # ---- reading

    def get_buffer(self, n):
        return self._ssl_buffer_view

    def buffer_updated(self, nbytes):
        if self._state is not WRAPPED:
            StockProtocol.buffer_updated(self, nbytes)
            return
        self._incoming.write(self._ssl_buffer_view[:nbytes])
        self.read_available()

    cdef bint takes_data(self) noexcept:
        """May feed() be called instead of get_buffer() and buffer_updated()?"""
        return self._state is WRAPPED

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        """Take received records from the caller's memory: OpenSSL copies them."""
        self._incoming.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        return self.read_available()

    def _do_read(self):
        if self._state is WRAPPED or self._state is FLUSHING:
            self.read_available()

    cdef int read_available(self) except -1:
        try:
            if not self._app_reading_paused:
                if self._app_protocol_is_buffer:
                    self._do_read__buffered()
                else:
                    self.read_records()
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
        if chunk is not None and not chunk:
            # close_notify
            self._call_eof_received()
            self._start_shutdown()
        return 0

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
            try:
                count = self.write_raw(data)
            except WANT_MORE:
                pass
            if count < size:
                self._write_backlog.append(data[count:])
                self._write_buffer_size += size - count
            self.send_outgoing()
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
        return 0

    def _process_outgoing(self):
        self.send_outgoing()

    cdef int send_outgoing(self) except -1:
        """Write all of OpenSSL's output to the transport in one write."""
        cdef bytes records
        cdef Py_ssize_t size = self._write_buffer_size
        if self._ssl_writing_paused:
            size += self._outgoing.pending
        else:
            records = self._outgoing.read()
            if PyBytes_GET_SIZE(records):
                self._transport.write(records)
                size = self._write_buffer_size + self._outgoing.pending
        if (size <= self.outgoing_low if self._app_writing_paused
                else size >= self.outgoing_high):
            self._control_app_writing()
        return 0

    cdef int control_reading(self) except -1:
        """Call the stdlib's flow control if a water mark was crossed."""
        cdef Py_ssize_t size = self._incoming.pending
        if (size <= self.incoming_low if self._ssl_reading_paused
                else size >= self.incoming_high):
            self._control_ssl_reading()
        return 0


class SSLTransport(sslproto._SSLProtocolTransport):
    """The application's transport: the stdlib's, with write() compiled."""

    def write(self, data):
        cdef SSLCore core
        if PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data):
            core = self._ssl_protocol
            if core is not None and core.may_write():
                core.write_bytes(data)
                return
        sslproto._SSLProtocolTransport.write(self, data)


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
