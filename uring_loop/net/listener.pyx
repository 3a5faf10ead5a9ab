"""The listener: connections come as completions of one multishot accept.

When it ends (no IORING_CQE_F_MORE) it is armed again, after a pause if the process or
the system is out of descriptors or memory. A listening socket may be closed only after
the accept has ended, or the kernel goes on accepting.
"""

cimport cython
from cpython.object cimport PyObject
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM)

import contextvars
import os
import selectors
import socket
from asyncio import constants, trsock

from uring_loop.driver.capi cimport PyContext_Copy, PyContext_Enter, PyContext_Exit
from uring_loop.driver.libc cimport (
    SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, SO_ACCEPTCONN)
from uring_loop.driver.ring cimport Operation, os_error
from uring_loop.driver.uapi cimport (
    ECANCELED, io_uring_prep_multishot_accept, io_uring_sqe)
from uring_loop.net.stream cimport StreamTransport
from uring_loop.scheduler.loop_core cimport LoopCore

# When to look again after the loop has moved to another thread.
cdef tuple REARM_SECONDS = (0.05, 0.2, 1)
cdef tuple RESOURCE_ERRORS = (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM)
cdef tuple TRANSIENT_ERRORS = (-EAGAIN, -EINTR, -ECONNABORTED)


@cython.final
cdef class AcceptOperation(Operation):
    """Multishot accept of one listening socket, and what it makes of connections.

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
        self.context = contextvars.copy_context()
        self.wanted = True

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        # No address: one memory for many completions would be overwritten.
        io_uring_prep_multishot_accept(
            sqe, self.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        if not self.wanted or self.loop._closed:
            if res >= 0:
                # As if it had still been in the backlog of the closed listener.
                os.close(res)
            return 0
        if res < 0 and res not in TRANSIENT_ERRORS:
            return self.failed(res)
        try:
            if res >= 0:
                self.accepted(res)
        finally:
            self.start()
        return 0

    def start(self):
        """Have the accept in flight, unless it is no longer wanted."""
        if self.wanted and not self.in_flight and not self.loop._closed:
            self.loop.ring.prepare(self)

    cdef int moved(self) except -1:
        # An accept waits exclusively: a connection that comes before the kernel has
        # taken the old ring apart, some 20 ms later, wakes the dead request only.
        # Arming it anew finds what was missed.
        for delay in REARM_SECONDS:
            self.loop.call_later(delay, self.rearm)
        return 0

    def rearm(self):
        """End the accept; it is armed again when it has ended."""
        if self.wanted:
            self.loop.cancel(self)

    def stop(self):
        """Accept no more. Submitted at once, so that the socket can be closed."""
        self.wanted = False
        if self.in_flight:
            self.loop.cancel(self)
            self.loop.flush_ring()

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

    cdef int failed(self, int res) except -1:
        if res == -ECANCELED:
            # Unasked: the thread that submitted it has ended.
            self.start()
            return 0
        if res == -EINVAL and self.sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
            # A kernel before 5.19: accept on readiness, as asyncio does.
            self.loop.multishot = False
            self.wanted = False
            self.loop._start_serving(
                self.protocol_factory, self.sock, server=self.server, **self.serving)
            return 0
        message = "socket.accept() failed"
        if res in RESOURCE_ERRORS:
            message = "socket.accept() out of system resource"
        self.report(message, os_error(res))
        # The connection waits in the backlog: accepting at once would fail again.
        self.loop.call_later(constants.ACCEPT_RETRY_DELAY, self.start)
        return 0

    def report(self, message, exc):
        self.loop.call_exception_handler({
            "message": message,
            "exception": exc,
            "socket": trsock.TransportSocket(self.sock),
        })

    def __repr__(self):
        return f"<AcceptOperation fd={self.fd}>"
