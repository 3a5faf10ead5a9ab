"""TLS: the stdlib's SSLProtocol with what every message passes through compiled.

`SSLProtocol` is the stdlib's own class behind a compiled core, as `Loop` is. The
handshake, the shutdown, timeouts, errors and everything else that happens once in a
connection's life is inherited. The fields that both sides use are the core's.

What the core saves beside Python frames: the read that would only raise
SSLWantReadError, since it looks first whether anything is left; a buffer of 256 KiB for
each connection, and one for each record; the calls of ssl.SSLObject, which only pass on
to the C object that it holds; and a copy, where a stream on the ring has the records in
its memory already.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory

from asyncio import sslproto

from uring_loop.scheduler.loop_core cimport LoopCore

cdef object WANT_MORE = sslproto.SSLAgainErrors
cdef object WRAPPED = sslproto.SSLProtocolState.WRAPPED
cdef object FLUSHING = sslproto.SSLProtocolState.FLUSHING
# More than the plaintext of one record is never read at a time.
cdef Py_ssize_t RECORD_BYTES = 16384
StockProtocol = sslproto.SSLProtocol


cdef class SSLCore:
    """The hot part of a TLS connection; the stdlib's SSLProtocol stands behind it."""

    @property
    def _sslobj(self):
        return self.sslobj

    @_sslobj.setter
    def _sslobj(self, sslobj):
        # ssl.SSLObject asks its C object to do the work: looked up once.
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

    # ---- what comes

    def get_buffer(self, n):
        return self._ssl_buffer_view

    def buffer_updated(self, nbytes):
        if self._state is not WRAPPED:
            StockProtocol.buffer_updated(self, nbytes)
            return
        self._incoming.write(self._ssl_buffer_view[:nbytes])
        self.read_available()

    cdef bint takes_data(self) noexcept:
        """May feed() be called, instead of get_buffer() and buffer_updated()?"""
        return self._state is WRAPPED

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        """What came, in memory of the caller's: OpenSSL makes its own copy."""
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
            # The rest is in OpenSSL's buffers, where no event of the socket reports
            # it: read on when the loop runs again.
            self._loop.call_soon(self._do_read)
            raise
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
        return 0

    cdef int read_records(self) except -1:
        """All that can be decrypted goes to the protocol at once."""
        cdef Py_ssize_t there
        cdef bytes chunk = None
        cdef bytes first = None
        cdef list rest = None
        # Plaintext is never longer than what it is encrypted to.
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
                there = self.still_there(PyBytes_GET_SIZE(chunk) == there)
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

    cdef Py_ssize_t still_there(self, bint filled) except -1:
        """How much to ask for next; 0: nothing is left.

        OpenSSL has decrypted bytes left only when the last read was `filled`: it
        decrypts one record at a time.
        """
        cdef Py_ssize_t there = self._incoming.pending
        if filled:
            there += self.pending_raw()
        return min(there, RECORD_BYTES)

    # ---- what goes

    cdef bint may_write(self) except -1:
        """Can data be encrypted right now, with nothing in front of it?"""
        return self._state is WRAPPED and not self._write_backlog

    cdef int write_bytes(self, bytes data) except -1:
        """Encrypt and send it; what OpenSSL cannot take yet waits in the backlog."""
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
        """What OpenSSL has put out goes to the socket in one write."""
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
        """The stdlib's flow control, if there is something to do."""
        cdef Py_ssize_t size = self._incoming.pending
        if (size <= self.incoming_low if self._ssl_reading_paused
                else size >= self.incoming_high):
            self._control_ssl_reading()
        return 0


class SSLTransport(sslproto._SSLProtocolTransport):
    """What the application writes to."""

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
        # What the transport has put there goes to OpenSSL at once: one buffer, always
        # hot, will do for all connections, where the stdlib has 256 KiB for each.
        self._ssl_buffer_view = loop.shared_buffer()
        self._ssl_buffer = self._ssl_buffer_view.obj

    def _get_app_transport(self):
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport
