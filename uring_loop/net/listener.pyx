"""The listener: accepts the connections of one listening socket when epoll says ready.

A connection that nobody has been told of stays in the kernel's backlog: for the other
processes and loops that accept on the same socket, and for who comes after this server.
So nothing is accepted in advance, as a multishot accept on the ring would do.

Where several processes, or loops of one process, share a socket, each connection wakes
all that sleep, and the first one wins. Which one that is depends on where the scheduler
has put them, and may be the same for a long time: of 400 connections, one after the
other, two workers on two processors served 84 and 316 (two of asyncio's 52 and 348).
EPOLLEXCLUSIVE would not help: the kernel ignores it where the epoll set is itself
polled. So a listener that has been woken in vain knows that it has rivals; after
`FEW_WINS` connections in a row that came alone it does not take the next one, but stays
out of the set for a millisecond. With that the two served 178 and 222 at worst.
"""

cimport cython
from cpython.object cimport PyObject
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno)

import contextvars
import os
import selectors
import socket
from asyncio import constants, trsock

from uring_loop.driver.capi cimport PyContext_Copy, PyContext_Enter, PyContext_Exit
from uring_loop.driver.libc cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4
from uring_loop.driver.ring cimport os_error
from uring_loop.driver.uapi cimport io_uring_cq_ready
from uring_loop.net.stream cimport StreamTransport
from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watches cimport Waiter, WatchSet

cdef enum:
    # So many connections are accepted at a time while other work waits.
    FEW_CONNECTIONS = 8
    # After so many wins in a row a listener gives way to those who share the socket.
    # Each time that nobody takes the connection it waits for half as many more.
    FEW_WINS = 8
    MANY_WINS = 64

# How long. An idle process that has been woken needs 0.03 to 0.3 ms, more where other
# programs keep the processors busy.
cdef double GIVE_WAY_SECONDS = 0.001
cdef tuple RESOURCE_ERRORS = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
cdef tuple TRANSIENT_ERRORS = (EAGAIN, EINTR, ECONNABORTED)


@cython.final
cdef class Listener(Waiter):
    """Accepts on one listening socket, and makes transports of the connections.

    `serving` holds the arguments of BaseSelectorEventLoop._start_serving by name.
    """

    def __cinit__(self, LoopCore loop not None, sock, protocol_factory, server,
                  dict serving not None):
        self.loop = loop
        self.sock = sock
        # ValueError for a closed socket, as registering it with asyncio gives.
        self.fd = selectors._fileobj_to_fd(sock.fileno())
        self.family = sock.family
        self.kind = sock.type
        self.proto = sock.proto
        self.protocol_factory = protocol_factory
        self.server = server
        self.serving = serving
        # asyncio accepts nothing with a backlog of 0, and spins.
        self.backlog = max(serving["backlog"], 1)
        self.context = contextvars.copy_context()
        self.wanted = True

    def start(self):
        """Wait for connections, unless they are no longer wanted."""
        if self.wanted and not self.loop._closed and self.sock.fileno() == self.fd:
            (<WatchSet>self.loop.watcher).wait(self.fd, False, self, None, False)

    def stop(self):
        """Accept no more."""
        self.wanted = False
        self.pause()

    def pause(self):
        if self.waiting and not self.loop._closed:
            (<WatchSet>self.loop.watcher).leave(self.fd, False, self, True)

    cdef int on_ready(self) except -1:
        cdef Py_ssize_t count
        if self.patience and self.wins >= self.patience:
            self.give_way()
            return 0
        count = self.accept_some()
        # Connections that come faster than they are accepted need no rule: whoever is
        # idle gets one.
        self.wins = self.wins + 1 if count == 1 else 0
        self.notice_rivals(count)
        return 0

    cdef int notice_rivals(self, Py_ssize_t count) except -1:
        """Has a wake-up brought nothing since the last connection?"""
        cdef unsigned long vain_count = (<WatchSet>self.loop.watcher).vain_count
        if (count == 0 or self.vain_seen != vain_count) and not self.patience:
            # A clock that a test has replaced may stand still.
            self.patience = 0 if self.loop.has_time_override else FEW_WINS
        self.vain_seen = vain_count
        return 0

    cdef int give_way(self) except -1:
        """Let others have the connection that waits."""
        self.wins = 0
        self.pause()
        self.loop.call_later(GIVE_WAY_SECONDS, self.come_back)
        return 0

    def come_back(self):
        """If the connection is still there, the others are busy."""
        self.start()
        if self.waiting and self.accept_some() > 0:
            self.patience = min(self.patience + FEW_WINS // 2, MANY_WINS)
        else:
            self.patience = FEW_WINS

    cdef Py_ssize_t accept_some(self) except -1:
        """Accept what is there, at most as much as asyncio does at a time. What is left
        is reported again in the next iteration."""
        cdef Py_ssize_t most = FEW_CONNECTIONS if self.has_company() else self.backlog
        cdef Py_ssize_t count = 0
        cdef int fd
        while count < min(most, self.backlog) and self.wanted:
            if self.sock.fileno() != self.fd:
                # Closed by the program. A duplicate of it is no longer ours, and its
                # number may be that of another file.
                self.pause()
                break
            fd = accept4(self.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno not in TRANSIENT_ERRORS:
                    self.failed(errno)
                break
            count += 1
            self.accepted(fd)
        return count

    cdef bint has_company(self) except -1:
        """Does anything but connections wait for this loop?"""
        return (self.loop.ready or self.loop.due
                or io_uring_cq_ready(&self.loop.ring.ring) > 0)

    cdef int accepted(self, int fd) except -1:
        # Each connection has a context of its own, as the task that asyncio makes
        # for it would.
        cdef object context = PyContext_Copy(<PyObject *>self.context)
        PyContext_Enter(<PyObject *>context)
        try:
            if self.serving["sslcontext"] is None:
                self.make_transport(fd)
            else:
                self.make_task(fd)
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int make_task(self, int fd) except -1:
        try:
            conn = socket.socket(self.family, self.kind, self.proto, fileno=fd)
            conn.setblocking(False)
        except OSError as exc:
            os.close(fd)
            self.report("Error on transport creation for incoming connection", exc)
            return 0
        serving = dict(self.serving)
        del serving["backlog"]
        try:
            self.loop.create_task(self.loop._accept_connection2(
                self.protocol_factory, conn, {}, server=self.server, **serving))
        except BaseException:
            conn.close()
            raise
        return 0

    cdef int make_transport(self, int fd) except -1:
        cdef StreamTransport transport = StreamTransport.__new__(StreamTransport)
        transport.fd = fd
        transport.family = self.family
        transport.kind = self.kind
        transport.proto = self.proto
        transport.loop = self.loop
        protocol = None
        try:
            protocol = self.protocol_factory()
            transport.open(self.loop, protocol, None, self.server)
            transport.begin(None)
        except BaseException as exc:
            transport.close_socket()
            if isinstance(exc, (SystemExit, KeyboardInterrupt)):
                raise
            if self.loop.debug:
                context = {
                    "message":
                        "Error on transport creation for incoming connection",
                    "exception": exc,
                }
                if protocol is not None:
                    context["protocol"] = protocol
                self.loop.call_exception_handler(context)
        return 0

    cdef int failed(self, int error) except -1:
        """An error of the listening socket or of the system, not of a connection."""
        message = "socket.accept() failed"
        if error in RESOURCE_ERRORS:
            message = "socket.accept() out of system resource"
        # The connection waits in the backlog: accepting at once would fail again.
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
