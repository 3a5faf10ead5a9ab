"""Base of all transports: the protocol, when to read, flow control, and the end.

The end of a transport follows asyncio step by step. `closing` is set by close() and
by errors: no more is read. `conn_lost` is set when connection_lost() is scheduled:
nothing is written any more. The socket is closed when connection_lost() has run and
the kernel has posted the last completion of every operation on the socket: a request
in flight holds the file, and the peer would see no end of stream. A posted completion
is enough; it need not be reaped. So callbacks that run later in the same iteration
find the socket closed, as on asyncio.

A socket that belongs to the user (create_connection(sock=...)) must reach the peer
when its owner closes it. On a ring that holds files no request may be in flight on
such a socket: the loop's watch set says when it is readable and writable.

Every change that needs memory makes all its objects first and changes fields then. So
a MemoryError leaves a transport that can be used, or at least aborted.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyObject_GetBuffer
from cpython.object cimport PyObject

import socket
import warnings
import weakref
from asyncio import base_events, selector_events

from uring_loop._compat import (
    SERVERS_KNOW_CLIENTS, attach_to_server, detach_from_server)
from uring_loop.driver.capi cimport (
    FREE_THREADED, PyContext_CopyCurrent, PyWeakref_NewRef, Py_CLEAR,
    _PyObject_GetDictPtr)
from uring_loop.driver.libc cimport POLLIN, POLLOUT, SHUT_RDWR, close_fd, shutdown
from uring_loop.driver.ring cimport Operation
from uring_loop.driver.uapi cimport ECANCELED, io_uring_prep_poll_add, io_uring_sqe
from uring_loop.net.address cimport read_name, take_peername, take_sockname
from uring_loop.net.address import name_of
from uring_loop.net.gather cimport GatheringWriter
from uring_loop.net.transport_socket import TransportSocket
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.handles import set_result_unless_cancelled
from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watches cimport WatchSet

logger = selector_events.logger
cdef object Socket = socket.socket
cdef object Server = base_events.Server
cdef object WeakSet = weakref.WeakSet
cdef enum:
    LOW_WATER = 16 * 1024
    HIGH_WATER = 64 * 1024
cdef tuple DEFAULT_WATER_MARKS = (LOW_WATER, HIGH_WATER)
cdef str READ_ERROR = "Fatal read error on socket transport"


cdef int pass_on() except -1:
    """Let the exception that is set already be seen by Cython."""
    return -1


# Never in flight: takes the place of a receive that has ended for good.
cdef Operation IDLE_OPERATION = Operation()


@cython.final
cdef class ReadPoll(Operation):
    """One-shot poll for something to read."""

    def __cinit__(self, Transport transport not None):
        self.transport = transport

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.transport.fd, POLLIN)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        try:
            if res != -ECANCELED:
                self.transport.readable()
        finally:
            self.transport.operation_ended()
        return 0

    def __repr__(self):
        return f"<ReadPoll of {self.transport!r}>"


@cython.final
cdef class WritePoll(Operation):
    """One-shot poll for room in the socket; in flight while there is a backlog."""

    def __cinit__(self, Transport transport not None):
        self.transport = transport

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        io_uring_prep_poll_add(sqe, self.transport.fd, POLLOUT)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        try:
            if self.transport.unsent() and not self.transport.loop._closed:
                self.transport.writable(res)
        finally:
            self.transport.operation_ended()
        return 0

    def __repr__(self):
        return f"<WritePoll of {self.transport!r}>"


cdef class Transport(GatheringWriter):
    """Base of the compiled transports; does no I/O."""

    def __cinit__(self, *args, **kwargs):
        # Cython makes a dictionary for each object. Most never need theirs, and
        # Python calls the methods of those without one twice as fast.
        Py_CLEAR(_PyObject_GetDictPtr(self)[0])

    cdef int open(self, LoopCore loop, sock, protocol, extra, server) except -1:
        """Take over the socket object, or without one the descriptor."""
        if sock is not None:
            self.sock, self.fd = sock, sock.fileno()
        self.loop = loop
        loop.ring.forget_fd(self.fd)
        self.given = extra
        self.read_names()
        self.water_marks = DEFAULT_WATER_MARKS
        self.low_water, self.high_water = LOW_WATER, HIGH_WATER
        self.take_protocol(protocol)
        # No callback, as of a WeakValueDictionary: close_socket() removes the entry.
        loop._transport_refs[self.fd] = PyWeakref_NewRef(self, None)
        if server is not None:
            self.attach(server)
            self.server = server
        return 0

    cdef int read_names(self) except -1:
        """Read both now: after a reset, getpeername() fails with ENOTCONN."""
        cdef bint plain = self.sock is None or type(self.sock) is Socket
        if not plain or take_sockname(self.fd, &self.raw_sockname) == 0:
            self.sockname = name_of(self.socket_object().getsockname)
        if self.given is not None and "peername" in self.given:
            return 0
        if self.raw_peername.family:
            # accept4() has told it.
            return 0
        if not plain or take_peername(self.fd, &self.raw_peername) == 0:
            self.peername = name_of(self.socket_object().getpeername)
        return 0

    cdef object socket_object(self):
        """The socket object; that of an accepted connection is made on first use."""
        if self.sock is not None:
            return self.sock
        # Two threads would make two, and close the descriptor twice.
        self.check_thread()
        sock = Socket(self.family, self.kind, self.proto,
                      None if self.socket_closed else self.fd)
        sock.setblocking(False)
        if self.socket_closed:
            sock.close()
        self.sock = sock
        return sock

    cdef int close_socket(self) except -1:
        cdef dict known = self.loop._transport_refs
        if self.socket_closed:
            return 0
        self.socket_closed = True
        if self.current_fd() == self.fd:
            self.loop.ring.forget_fd(self.fd)
        found = known.get(self.fd)
        if found is not None:
            found = found()
            if found is None or found is self:
                del known[self.fd]
        if self.sock is not None:
            self.sock.close()
        else:
            # close(2) may wait: SO_LINGER.
            with nogil:
                close_fd(self.fd)
        return 0

    cdef int current_fd(self) except -2:
        """The descriptor; -1 if the socket is its user's, who has closed it: then the
        number may stand for another file."""
        return <int>self.sock.fileno() if self.user_socket else self.fd

    # ---- implemented by each kind of transport

    cdef Py_ssize_t unsent(self) noexcept:
        """Bytes accepted by write() that the kernel has not taken yet."""
        # A plain number: cannot raise.
        return 0

    cdef int drop_unsent(self) except -1:
        """Forget what is unsent and stop waiting for room."""
        raise NotImplementedError

    cdef bint open_pool(self) except -1:
        """Have the buffers that the receive needs; False if there can be none."""
        raise NotImplementedError

    cdef int readable(self) except -1:
        """The socket is readable: read what is there, once."""
        raise NotImplementedError

    cdef int writable(self, int res) except -1:
        """A WritePoll has completed: the socket has room, or an error."""
        raise NotImplementedError

    # ---- the start

    cdef int begin(self, waiter) except -1:
        cdef Handle made = None, started = None
        self.context = self.callback_context()
        try:
            made = self.loop.call_soon_fast(
                self.protocol.connection_made, (self,), self.own_context)
            # Reading starts when connection_made() has been called, and only then the
            # waiter wakes up.
            started = self.loop.call_soon_fast(self._start_reading, (), self.context)
            if waiter is not None:
                self.loop.call_soon_fast(
                    set_result_unless_cancelled, (waiter, None), self.context)
        except BaseException:
            # The caller closes the socket: no protocol may see this transport.
            if made is not None:
                made.cancel()
            if started is not None:
                started.cancel()
            raise
        return 0

    cdef object callback_context(self):
        """The connection's own context, or a copy of the current one."""
        return PyContext_CopyCurrent() if self.own_context is None else self.own_context

    def _start_reading(self):
        self.reading_started = True
        self.read_on()

    # ---- asyncio's names, which the stdlib and tools read

    @property
    def _loop(self):
        return self.loop

    @property
    def _sock(self):
        return None if self.socket_closed else self.socket_object()

    @property
    def _sock_fd(self):
        return self.fd

    @property
    def _extra(self):
        names = ("socket", "sockname", "peername", *(self.given or ()))
        return {name: self.get_extra_info(name) for name in names}

    @property
    def _protocol(self):
        return self.protocol

    @property
    def _protocol_paused(self):
        return self.protocol_paused

    @property
    def _server(self):
        return self.server

    @property
    def _closing(self):
        return self.closing

    @property
    def _paused(self):
        return self.paused

    @property
    def _conn_lost(self):
        return self.conn_lost

    # ---- what every transport offers

    def __repr__(self):
        info = [type(self).__name__, f"fd={self.fd}"]
        if self.closing:
            info.insert(1, "closed" if self.socket_closed else "closing")
        if not (self.socket_closed or self.loop._closed):
            info.append("read=" + ("polling" if self.wants_data() else "idle"))
            info.append(f"write=<{'polling' if self.unsent() else 'idle'}, "
                        f"bufsize={self.unsent()}>")
        return f"<{' '.join(info)}>"

    def get_extra_info(self, name, default=None):
        """Transport information: socket, sockname, peername and what was added."""
        if name == "socket":
            if self.socket_for_users is None:
                self.socket_for_users = TransportSocket(self.socket_object(), self)
            return self.socket_for_users
        if name == "sockname":
            if self.sockname is None and self.raw_sockname.family:
                self.sockname = read_name(&self.raw_sockname)
            return self.sockname
        if self.given is not None and name in self.given:
            return self.given[name]
        if name != "peername":
            return default
        if self.peername is None and self.raw_peername.family:
            self.peername = read_name(&self.raw_peername)
        return self.peername

    def set_protocol(self, protocol):
        self.flush_held()
        self.take_protocol(protocol)

    cdef int take_protocol(self, protocol) except -1:
        self.protocol = protocol
        self.protocol_connected = True
        return 0

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closing

    def close(self):
        """Send what is buffered, then end; the protocol hears connection_lost()."""
        self.check_thread()
        try:
            self.flush_held()
        finally:
            # Also if pause_writing() was interrupted.
            if not self.closing:
                self.begin_close()

    cdef int begin_close(self) except -1:
        if not self.unsent():
            return self.lose_connection(None)
        self.closing = True
        return self.stop_reading()

    def abort(self):
        """End at once; what is buffered is lost."""
        self.force_close(None)

    def _force_close(self, exc):
        self.force_close(exc)

    def get_write_buffer_size(self):
        self.flush_held()
        return self.unsent()

    def get_write_buffer_limits(self):
        """(low, high) in bytes."""
        return self.water_marks

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(
                f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.check_thread()
        self.water_marks = self.low_water, self.high_water = low, high
        self.flush_held()
        self.pause_protocol_if_full()

    def __del__(self):
        if self.socket_closed or self.loop is None:
            return
        if FREE_THREADED and self.loop.is_elsewhere():  # A collection found it.
            self.loop.call_soon_threadsafe(self.__del__)
            return
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
        self.close_socket()
        if self.server is not None:
            self.detach(self.server)

    # ---- when to read

    def is_reading(self):
        return not self.closing and not self.paused

    def pause_reading(self):
        self.check_thread()
        if self.closing or self.paused:
            return
        self.paused = True
        # A poll may stay in flight: it takes nothing from the socket.
        self.loop.cancel(self.receive)
        self.unwatch_readable()
        if self.loop.debug:
            logger.debug("%r pauses reading", self)

    def resume_reading(self):
        self.check_thread()
        if self.closing or not self.paused:
            return
        context = self.callback_context()
        if self.pending is not None:
            self.schedule_delivery()
        self.paused = False
        self.context = context
        try:
            self.arm()
        except BaseException:
            self.paused = True
            raise
        if self.loop.debug:
            logger.debug("%r resumes reading", self)

    cdef bint wants_data(self) noexcept:
        # Looks at flags: cannot raise.
        return (self.reading_started and not self.eof_seen and self.pending is None
                and not (self.paused or self.closing or self.loop._closed))

    cdef int arm(self) except -1:
        """Have one request in flight if data is wanted.

        A receive whose cancel is under way still may bring data: its last completion
        comes here again.
        """
        if not self.wants_data() or self.receive.in_flight:
            return 0
        if self.by_readiness:
            return self.watch_readable()
        if not self.in_bulk and self.open_pool():
            return self.loop.ring.prepare(self.receive)
        if self.bulk is None:
            self.bulk = ReadPoll(self)
        if not self.bulk.in_flight:
            self.loop.ring.prepare(self.bulk)
        return 0

    cdef int read_on(self) except -1:
        """arm(); a connection that cannot be armed ends, since it would never read."""
        try:
            self.arm()
        except MemoryError as exc:
            self.fatal_error(exc, READ_ERROR)
        except OSError as exc:
            if self.user_socket:
                # Its owner has closed it: on asyncio the callback fails.
                raise
            self.fatal_error(exc, READ_ERROR)
        return 0

    cdef int stop_reading(self) except -1:
        """End the operations that read, and forget what is pending."""
        self.pending = None
        self.unwatch_readable()
        self.loop.cancel(self.receive)
        return self.loop.cancel(self.bulk)

    cdef int schedule_delivery(self) except -1:
        """Deliver what is pending in the next iteration."""
        if not self.delivery_due:
            # No context: as in watch_readable().
            self.loop.call_soon_fast(self._run_delivery, (), None)
            self.delivery_due = True
        return 0

    def _run_delivery(self):
        self.delivery_due = False
        self._deliver_pending()

    # ---- readiness from the loop's watch set, which holds no file

    cdef int watch_readable(self) except -1:
        if self.read_watch is None:
            # No context: the callback enters `own_context`, which works only once.
            self.read_watch = (<WatchSet>self.loop.watcher).add(
                self.fd, False, self._read_ready, (), None)
        return 0

    cdef int unwatch_readable(self) except -1:
        cdef Handle handle = self.read_watch
        self.read_watch = None
        return self.unwatch(handle, False)

    cdef int watch_room(self) except -1:
        if self.loop._closed:
            self.loop._check_closed()
        if self.room_watch is None:
            self.room_watch = (<WatchSet>self.loop.watcher).add(
                self.fd, True, self._write_ready, (), self.own_context)
        return 0

    cdef int unwatch_room(self) except -1:
        cdef Handle handle = self.room_watch
        self.room_watch = None
        return self.unwatch(handle, True)

    cdef int unwatch(self, Handle handle, bint writing) except -1:
        # Not the watch of another file with the same number: the user may have closed
        # this socket.
        if handle is not None:
            (<WatchSet>self.loop.watcher).remove_handle(self.fd, writing, handle)
        return 0

    def _read_ready(self):
        try:
            self.readable()
        finally:
            if not self.wants_data():
                self.unwatch_readable()

    def _write_ready(self):
        self.writable(POLLOUT)

    # ---- flow control

    cdef int watch_writable(self) except -1:
        """Wait for room in the socket."""
        if self.by_readiness or self.polls_in_vain:
            return self.watch_room()
        if self.flush is None:
            self.flush = WritePoll(self)
        if not self.flush.in_flight:
            self.flush.context = self.callback_context()
            self.loop.ring.prepare(self.flush)
        return 0

    cdef int unwatch_writable(self) except -1:
        self.unwatch_room()
        return self.loop.cancel(self.flush)

    cdef int pause_protocol_if_full(self) except -1:
        if self.protocol_paused or self.unsent() <= self.high_water:
            return 0
        self.protocol_paused = True
        try:
            self.protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.report("protocol.pause_writing() failed", exc)
        return 0

    cdef int resume_protocol_if_drained(self) except -1:
        if not self.protocol_paused or self.unsent() > self.low_water:
            return 0
        self.protocol_paused = False
        try:
            self.protocol.resume_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.report("protocol.resume_writing() failed", exc)
        return 0

    # ---- errors and the end

    def report(self, message, exc):
        self.loop.call_exception_handler({
            "message": message,
            "exception": exc,
            "transport": self,
            "protocol": self.protocol,
        })

    cdef int fatal_error(self, exc, message) except -1:
        """End a connection that cannot go on; only OSError is not reported."""
        try:
            if not isinstance(exc, OSError):
                self.report(message, exc)
            elif self.loop.debug:
                logger.debug("%r: %s", self, message, exc_info=exc)
        finally:
            self.force_close(exc)
        return 0

    cdef int fail(self, exc, message) except -1:
        """fatal_error() where bytes of the stream are lost: neither direction goes on,
        even if there is no memory to end the connection now."""
        self.broken = True
        try:
            self.fatal_error(exc, message)
        except MemoryError:
            if not self.conn_lost:
                # Completes what reads or waits for room, which tries once more.
                shutdown(self.current_fd(), SHUT_RDWR)
            raise
        return 0

    cdef int fail_raised(self, message) except -1:
        """fail() with the exception that a call in C has set; an interruption goes on
        to the caller."""
        try:
            pass_on()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, message)
        return 0

    cdef int force_close(self, exc) except -1:
        self.flush_held()
        if self.conn_lost:
            return 0
        return self.lose_connection(exc)

    cdef int lose_connection(self, exc) except -1:
        """Schedule connection_lost(). Without memory for that nothing has changed."""
        cdef bint was_closing = self.closing
        if not self.loop._closed:
            if self.loop.debug:
                self.loop._check_thread()
            self.loop.call_soon_fast(
                self._call_connection_lost, (exc,), self.own_context)
        self.conn_lost += 1
        self.closing = True
        self.drop_unsent()
        if not was_closing:
            self.stop_reading()
        if self.loop._closed:
            self.loop._check_closed()
        return 0

    def _call_connection_lost(self, exc):
        server = self.server
        try:
            if self.protocol_connected:
                self.protocol.connection_lost(exc)
        finally:
            self.protocol = None
            self.server = None
            self.finished = True
            self.operation_ended()
            if server is not None:
                self.detach(server)

    cdef int attach(self, server) except -1:
        clients = clients_of(server)
        if clients is None:
            attach_to_server(server, self)
        else:
            # As its add() would.
            (<set?>clients.data).add(PyWeakref_NewRef(self, clients._remove))
        return 0

    cdef int detach(self, server) except -1:
        clients = clients_of(server)
        if clients is None:
            # Through the server's method: Server.wait_closed() waits for the last.
            detach_from_server(server, self)
        else:
            (<set?>clients.data).discard(PyWeakref_NewRef(self, None))
        return 0

    cdef int operation_ended(self) except -1:
        """Close the socket if this was all that kept it open; else read on."""
        if self.finished and not self.socket_closed and not self.busy():
            self.close_socket()
            # Without these cycles the last reference frees the transport, and not
            # the garbage collector.
            self.receive = IDLE_OPERATION
            self.bulk = None
            self.flush = None
        return self.read_on()

    cdef bint has_peer(self) noexcept:
        # Looks at fields: cannot raise.
        return self.peername is not None or self.raw_peername.family != 0

    cdef bint busy(self) noexcept:
        """Does the kernel hold the socket for any operation of this transport?"""
        # Looks at flags and completions: cannot raise.
        return (self.loop.ring.holds(self.receive) or self.loop.ring.holds(self.bulk)
                or self.loop.ring.holds(self.flush))


cdef object clients_of(server):
    """The WeakSet of a server of asyncio's that is open; else None."""
    if not SERVERS_KNOW_CLIENTS or type(server) is not Server:
        return None
    clients = server._clients
    if type(clients) is not WeakSet or server._sockets is None:
        return None
    return clients


cdef int get_writable(buffer, Py_buffer *view) except -1:
    """The buffer's memory, or the TypeError of socket.recv_into."""
    try:
        PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    except (TypeError, BufferError):
        raise TypeError("recv_into() argument 1 must be read-write bytes-like object, "
                        f"not {type(buffer).__name__}") from None
    return 0
