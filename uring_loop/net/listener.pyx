"""The listener: accepts the connections of one listening socket by readiness.

A connection that has not been announced to a protocol stays in the kernel's backlog,
for other processes and loops that accept on the same socket and for a later server. A
multishot accept on the ring would take connections in advance.

Where several processes, or loops of one process, share a socket, each connection wakes
all that sleep, and the first one gets it. Which one is first depends on the placement
by the kernel's scheduler, and may be the same for a long time: of 400 connections, one
after the other, two workers on two processors served 84 and 316 (two of asyncio's 52
and 348). EPOLLEXCLUSIVE would not help: the kernel ignores it in an epoll set that is
itself polled. So a listener takes turns if its socket may be shared: if the program
gave the socket, or if the listener has been woken without getting a connection. After
`WINS_LIMIT_LEAST` reports in a row with one connection each, it leaves the epoll set
for as long as these have taken. It comes back early when `YIELD_LOOKS` looks in a row
have found a connection that nobody takes.
"""

cimport cython
from cpython.object cimport PyObject
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno)

import contextvars
import selectors
import socket
from asyncio import constants, trsock

from uring_loop._compat import context_option
from uring_loop.driver.capi cimport PyContext_Copy, PyContext_Enter, PyContext_Exit
from uring_loop.driver.libc cimport POLLIN, close_fd, poll, pollfd
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport io_uring_cq_ready
from uring_loop.net.address cimport RawName, accept_named, read_name
from uring_loop.net.stream cimport StreamTransport
from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watch cimport Waiter
from uring_loop.scheduler.watches cimport WatchSet

cdef enum:
    # The most connections to accept per report while other work waits.
    BUSY_BATCH = 8
    # After this number of wins in a row a listener yields its turn. The number doubles
    # after so many turns in a row in which no other process took the waiting
    # connection: on a busy machine it may only wait for a processor.
    WINS_LIMIT_LEAST = 8
    WINS_LIMIT_MOST = 4096
    VAIN_TURNS = 4
    # The most looks at a yielded connection. A woken idle process accepts within 0.03
    # to 0.3 ms; one that waits for a processor may need some milliseconds.
    YIELD_LOOKS = 8

# From one look to the next.
cdef double LOOK_SECONDS = 0.001
# The longest turn of the others, after a pause in which nothing came.
cdef double TURN_SECONDS_MOST = 0.05
cdef tuple RESOURCE_ERRORS = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
cdef tuple TRANSIENT_ERRORS = (EAGAIN, EINTR, ECONNABORTED)


@cython.final
cdef class Listener(Waiter):
    """Accepts on one listening socket and makes the connections' transports.

    `is_shareable`: the program gave the socket, which may have other owners.
    `serving` maps the argument names of BaseSelectorEventLoop._start_serving to values.
    `context` is that of the server (Python 3.15): all callbacks of a connection run in
    one copy of it. None: each has a copy of its own.
    """

    def __cinit__(self, LoopCore loop not None, sock, protocol_factory, server,
                  dict serving not None, context, bint is_shareable):
        self.loop = loop
        self.sock = sock
        # A closed socket raises ValueError, as on asyncio.
        self.fd = selectors._fileobj_to_fd(sock.fileno())
        self.family = sock.family
        self.kind = sock.type
        self.proto = sock.proto
        self.protocol_factory = protocol_factory
        self.server = server
        self.serving = serving
        # With a backlog of 0 asyncio accepts no connection and spins.
        self.backlog = max(serving["backlog"], 1)
        self.shares_context = context is not None
        self.context = context if self.shares_context else contextvars.copy_context()
        self.wanted = True
        if is_shareable:
            self.presume_sharing()

    def start(self):
        """Wait for connections, unless the listener was stopped."""
        if self.wanted and not self.loop._closed and self.sock.fileno() == self.fd:
            (<WatchSet>self.loop.watcher).wait(self.fd, False, self, None, False)

    def stop(self):
        """Stop accepting for good."""
        self.wanted = False
        self.pause()

    def pause(self):
        if self.waiting and not self.loop._closed:
            (<WatchSet>self.loop.watcher).leave(self.fd, False, self, True)

    cdef int on_ready(self) except -1:
        cdef Py_ssize_t count
        if self.wins_limit and self.wins >= self.wins_limit:
            self.yield_turn()
            return 0
        if self.wins_limit and not self.wins:
            self.turn_began = self.loop.now()
        count = self.accept_some()
        # Several connections at a time need no rule: each idle process gets one.
        self.wins = self.wins + 1 if count == 1 else 0
        self.detect_sharing(count)
        return 0

    cdef int detect_sharing(self, Py_ssize_t count) except -1:
        """A wake-up since the last report that brought no connection has a rival."""
        cdef unsigned long polls_count = (
            <WatchSet>self.loop.watcher).empty_polls_count
        if count == 0 or self.empty_polls_seen != polls_count:
            self.presume_sharing()
        self.empty_polls_seen = polls_count
        return 0

    cdef int presume_sharing(self) except -1:
        # A replaced clock may not advance, and the yield would not end.
        self.wins_limit = 0 if self.loop.has_time_override else WINS_LIMIT_LEAST
        return 0

    cdef int yield_turn(self) except -1:
        """Leave the waiting connection, and those that follow for as long as the
        listener's own turn has lasted, to other processes."""
        cdef double now = self.loop.now()
        self.wins = 0
        self.looks_left = YIELD_LOOKS
        self.turn_ends = now + min(now - self.turn_began, TURN_SECONDS_MOST)
        self.pause()
        self.loop.call_later(LOOK_SECONDS, self.look)
        return 0

    def look(self):
        """End the others' turn when its time is over, or early if a connection has
        waited for all looks: then the others are busy or gone."""
        if self.wanted and self.sock.fileno() == self.fd and self.has_connection():
            self.looks_left -= 1
        elif self.loop.now() < self.turn_ends:
            self.looks_left = YIELD_LOOKS
        else:
            self.end_turn()
            return
        if self.looks_left > 0:
            self.loop.call_later(LOOK_SECONDS, self.look)
        else:
            self.end_turn()

    cdef int end_turn(self) except -1:
        self.start()
        if not self.waiting or self.accept_some() == 0 or self.looks_left:
            self.vain_turns = 0
            self.wins_limit = WINS_LIMIT_LEAST
            return 0
        self.vain_turns += 1
        if self.vain_turns == VAIN_TURNS:
            self.vain_turns = 0
            self.wins_limit = min(2 * self.wins_limit, WINS_LIMIT_MOST)
        return 0

    cdef bint has_connection(self) noexcept:
        # A system call: cannot raise.
        cdef pollfd asked
        asked.fd = self.fd
        asked.events = POLLIN
        return poll(&asked, 1, 0) > 0

    cdef Py_ssize_t accept_some(self) except -1:
        """Accept waiting connections, at most as many as asyncio does at a time. The
        next iteration reports the rest. Returns their number."""
        cdef Py_ssize_t most = BUSY_BATCH if self.has_other_work() else self.backlog
        cdef Py_ssize_t count = 0
        cdef int fd
        cdef RawName peer
        while count < min(most, self.backlog) and self.wanted:
            if self.sock.fileno() != self.fd:
                # The program has closed the socket. The number may name another file,
                # and a duplicate of the socket does not belong to this listener.
                self.pause()
                break
            # The kernel makes a file before it looks for a connection: accept4() takes
            # 1.7 us to find none, poll() 0.2 us.
            if count and not self.has_connection():
                break
            fd = accept_named(self.fd, &peer)
            if fd < 0:
                if errno not in TRANSIENT_ERRORS:
                    self.failed(errno)
                break
            count += 1
            self.loop.accepts_count += 1
            self.accepted(fd, &peer)
        return count

    cdef bint has_other_work(self) except -1:
        """Has the loop work besides these connections?"""
        return (self.loop.ready or self.loop.due
                or io_uring_cq_ready(&self.loop.ring.ring) > 0)

    cdef int accepted(self, int fd, const RawName *peer) except -1:
        # Each connection has a context of its own, as on asyncio, which makes a task
        # for each connection.
        cdef object context = None
        cdef object shared
        cdef StreamTransport transport = None
        try:
            context = PyContext_Copy(<PyObject *>self.context)
            if self.serving["sslcontext"] is None:
                transport = StreamTransport.__new__(StreamTransport)
        except BaseException:
            # No memory, and nothing has the descriptor yet.
            close_fd(fd)
            raise
        shared = context if self.shares_context else None
        if transport is None and shared is not None:
            # The task enters it, possibly at once (eager_task_factory).
            return self.make_task(fd, peer, shared)
        PyContext_Enter(<PyObject *>context)
        try:
            if transport is None:
                self.make_task(fd, peer, None)
            else:
                self.make_transport(transport, fd, peer, shared)
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int make_task(self, int fd, const RawName *peer, shared) except -1:
        conn = None
        try:
            conn = socket.socket(self.family, self.kind, self.proto, fileno=fd)
        except BaseException as exc:
            close_fd(fd)
            if not isinstance(exc, OSError):
                raise
            self.report("Error on transport creation for incoming connection", exc)
        if conn is None:
            return 0
        try:
            # The descriptor does not block; the object has the process's default
            # timeout.
            conn.settimeout(0)
            extra = {"peername": read_name(peer)} if peer.family else {}
            option = context_option(shared)
            serving = {**self.serving, **option}
            del serving["backlog"]
            self.loop.create_task(self.loop._accept_connection2(
                self.protocol_factory, conn, extra, server=self.server, **serving),
                **option)
        except BaseException:
            conn.close()
            raise
        return 0

    cdef int make_transport(
            self, StreamTransport transport, int fd, const RawName *peer,
            shared) except -1:
        transport.fd = fd
        transport.raw_peername = peer[0]
        transport.family = self.family
        transport.kind = self.kind
        transport.proto = self.proto
        transport.loop = self.loop
        transport.own_context = shared
        protocol = None
        try:
            protocol = self.protocol_factory()
            transport.open(self.loop, None, protocol, None, self.server)
            transport.begin(None)
        except BaseException as exc:
            transport.close_socket()
            if isinstance(exc, (SystemExit, KeyboardInterrupt)):
                raise
            if self.loop.debug:
                details = {
                    "message":
                        "Error on transport creation for incoming connection",
                    "exception": exc,
                }
                if protocol is not None:
                    details["protocol"] = protocol
                self.loop.call_exception_handler(details)
        return 0

    cdef int failed(self, int error) except -1:
        """Handle an error of the listening socket or of the system."""
        message = "socket.accept() failed"
        if error in RESOURCE_ERRORS:
            message = "socket.accept() out of system resource"
        # The connection stays in the backlog: accepting at once would fail again.
        self.pause()
        self.loop.call_later(constants.ACCEPT_RETRY_DELAY, self.start)
        self.report(message, os_error(-error))
        return 0

    def report(self, message, exc):
        self.loop.call_exception_handler({
            "message": message,
            "exception": exc,
            "socket": trsock.TransportSocket(self.sock),
        })

    def __repr__(self):
        return f"<Listener fd={self.fd}>"
