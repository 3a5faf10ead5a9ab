"""class Loop: the compiled core and asyncio's own Unix loop, combined by inheritance.

Here a module is imported, and its names are reached through it, if a loop can be made
without it: then the module runs when it is first needed. See lazy.py.
"""

import asyncio
import os
import signal
import threading
from asyncio import constants, events

from uring_loop import _compat
from uring_loop.driver import backend as backends
from uring_loop.driver.options import (
    check_options, requested_gathering, requested_restriction, requested_tls)
from uring_loop.guest import guest
from uring_loop.lazy import LazyMethod
from uring_loop.net import (
    datagram, listener, overridden_sockets, ssl_connection, stream, tls as tls_protocol,
    tls_trust, user_sockets)
from uring_loop.process import pipes, subprocesses
from uring_loop.scheduler import watches
from uring_loop.scheduler.loop_core import LoopCore
from uring_loop.scheduler.ring_selector import RingSelector


class Loop(LoopCore, asyncio.SelectorEventLoop):
    """asyncio's Unix loop with its I/O on io_uring, or on epoll.

    backend     "io_uring", "epoll", or "auto": io_uring if it is available, else epoll.
                Default: the environment variable URING_LOOP_BACKEND, else "auto"
    taskrun     "defer" (DEFER_TASKRUN, Linux 6.1) or "coop" (COOP_TASKRUN, the flags
                of QEMU's series, Linux 5.19)
    sq_entries  size of the submission queue, a power of two from 8 to 32768; the
                completion queue has four times as many
    single_issuer  False leaves out SINGLE_ISSUER (Linux 6.0), by which the kernel lets
                only one thread use the ring. It needs taskrun="coop", since
                DEFER_TASKRUN needs SINGLE_ISSUER. Nothing else changes: for comparisons
    poll_max_ns, poll_grow, poll_shrink
                adaptive polling, off by default: see `set_poll`
    gather_writes  False sends within each `transport.write()`. True lets it wait for
                the end of the loop's iteration where other callbacks are ready.
                Default: the environment variable URING_LOOP_GATHER_WRITES, else True
    restrict    True: the kernel refuses every request on the ring that sockets do not
                need, for the ring's life; files use threads. "files": it serves file
                operations, too. Nothing to restrict on epoll. Default: the environment
                variable URING_LOOP_RESTRICT (0, 1, files), else False
    tls         "auto" passes the data of TLS connections to OpenSSL directly where
                that can be trusted; "stdlib" always through ssl.
                Default: the environment variable URING_LOOP_TLS, else "auto"

    Raises ValueError for an invalid option, and OSError with cause and cure if
    backend="io_uring" and the kernel refuses a ring.
    """

    def __init__(self, *, backend=None, taskrun="defer", sq_entries=256,
                 single_issuer=True, poll_max_ns=0, poll_grow=0, poll_shrink=0,
                 gather_writes=None, restrict=None, tls=None):
        backend = backends.requested_backend(backend)
        options = check_options(taskrun, sq_entries, single_issuer)
        options["restrict"] = requested_restriction(restrict)
        self.held.wanted = requested_gathering(gather_writes)
        self._tls_wanted = requested_tls(tls)
        self._tls_memory = None
        self.set_poll(max_ns=poll_max_ns, grow=poll_grow, shrink=poll_shrink)
        self.backend_reason = "available" if backend == "auto" else "asked for"
        self._listeners = {}
        self._pidfds = set()
        self._user_sockets = {}
        selector = None
        try:
            self._make_ring(backend, options)
            # The watch set has a descriptor: close it if the next line fails.
            selector = watches.WatchSet(self)
            selector = RingSelector(selector)
            super().__init__(selector)
            self._transport_refs = self._transports.data
        except BaseException:
            self._undo_making(selector)
            raise

    def _undo_making(self, selector):
        """Close the parts of a loop whose constructor has failed, for instance without
        a descriptor for the socket pair. The caller has no loop that could be
        closed."""
        self._closed = True
        for part in (selector, vars(self).get("_ssock"), vars(self).get("_csock")):
            if part is not None:
                part.close()
        if self.ring is not None:
            self.close_ring()

    def _make_ring(self, backend, options):
        if backend != "epoll":
            try:
                self.open_ring({"driver": "io_uring", **options})
                return
            except OSError as exc:
                if backend == "io_uring":
                    raise OSError(exc.errno, backends.explain(exc)) from None
                self.backend_reason = backends.fall_back(exc)
        self.open_ring({"driver": "epoll", "sq_entries": options["sq_entries"]})

    # ---- backend

    @property
    def ring(self):
        """What serves the loop's I/O; another one after a change of thread."""
        return self._present_ring()

    @property
    def backend(self):
        """"io_uring" or "epoll"; `backend_reason` says why."""
        return self.ring.driver

    @property
    def ring_flags(self):
        """Names of the ring's set-up flags that the kernel granted; none on epoll."""
        return self.ring.flag_names

    @property
    def ring_refused(self):
        """The flags that the kernel did not grant: name -> reason."""
        return dict(self.ring.refused)

    @property
    def ring_restricted(self):
        """What the kernel restricts the ring to: False (nothing; always on epoll), True
        or "files". See the option `restrict`."""
        return self.ring.restricted

    # ---- TLS

    @property
    def tls_engine(self):
        """"openssl" or "stdlib": what the data of TLS connections passes through.
        `tls_engine_reason` says why."""
        return self._tls_verdict().engine

    @property
    def tls_engine_reason(self):
        return self._tls_verdict().reason

    def _tls_verdict(self):
        if self._tls_wanted == "stdlib":
            return tls_trust.ASKED_FOR
        return tls_trust.verdict()

    def _tls_output_memory(self):
        """The memory for the records of all connections; None with the engine
        "stdlib"."""
        if self._tls_memory is None and self.tls_engine == "openssl":
            self._tls_memory = ssl_connection.OutputMemory()
        return self._tls_memory

    def __repr__(self):
        return (f"<{type(self).__name__} backend={self.backend} "
                f"running={self.is_running()} closed={self.is_closed()} "
                f"debug={self.get_debug()}>")

    # ---- running

    def run_forever(self):
        """Run until stop() is called."""
        _compat.run_forever_setup(self)
        try:
            installed = self._install_wakeup_fd()
            try:
                self.run_steps()
            finally:
                if installed:
                    self._restore_wakeup_fd()
        finally:
            _compat.run_forever_cleanup(self)

    def _install_wakeup_fd(self):
        """Let a signal end the loop's sleep, even if it arrives just before.

        Python's handlers run between bytecodes. Without the wake-up descriptor, a
        signal that arrives after the last bytecode and before the system call would be
        handled only after the next event. Only the main thread can set the descriptor;
        one that other code has set stays.
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        previous = signal.set_wakeup_fd(self._csock.fileno())
        if previous not in (-1, self._csock.fileno()):
            signal.set_wakeup_fd(previous)
            return False
        return True

    def _restore_wakeup_fd(self):
        """Unset the descriptor, unless signal handlers of the loop need it or other
        code has set its own."""
        current = signal.set_wakeup_fd(-1)
        if self._signal_handlers or current != self._csock.fileno():
            signal.set_wakeup_fd(current)

    def watch_callbacks(self, report, *, seconds=0.1):
        """Measure all callbacks, and call `report(what, start, took)` after each one
        that took `seconds` or longer; None: measure nothing. For telemetry.

        `what` is a Handle, or the operation of a transport whose completion called a
        protocol; `start` is by the loop's clock. Meanwhile `busy_seconds` of
        `statistics()` grows.
        """
        self.callback_watch.set_report(report, seconds)
        self.timed = bool(self.get_debug()) or report is not None

    def guest(self, **options):
        """A Guest, through which a foreign main loop runs this one; options of
        Guest."""
        return guest.Guest(self, **options)

    def close(self):
        """Close the loop: cancel all operations in flight and wait for their ends."""
        if self.is_closed() or self.is_running():
            # The stdlib handles both cases.
            super().close()
            return
        super().close()
        # The processes behind these may outlive the loop.
        while self._pidfds:
            os.close(self._pidfds.pop())
        self.close_ring()
        # Releases the last references to listening sockets, which frees their ports.
        self._listeners.clear()
        exc = self.ring.close_error
        if exc is not None:
            self.call_exception_handler({
                "message": "The kernel refused the ring while the loop was closed; "
                           f"requests were abandoned: {backends.explain(exc)}",
                "exception": exc,
            })

    # ---- held writes are sent before other code can look for them

    def run_in_executor(self, executor, func, *args):
        self.held.flush()
        return super().run_in_executor(executor, func, *args)

    async def _make_subprocess_transport(self, *args, **kwargs):
        self.held.flush()
        if subprocesses.can_use_pidfds():
            return await subprocesses.start(self, *args, **kwargs)
        return await super()._make_subprocess_transport(*args, **kwargs)

    # ---- resolver: numeric hosts without a thread

    getaddrinfo = LazyMethod("net.resolver")
    getnameinfo = LazyMethod("net.resolver")

    # ---- calls on a user's own sockets, by readiness

    sock_recv = LazyMethod("net.sock_calls")
    sock_recv_into = LazyMethod("net.sock_calls")
    sock_recvfrom = LazyMethod("net.sock_calls")
    sock_recvfrom_into = LazyMethod("net.sock_calls")
    sock_sendall = LazyMethod("net.sock_calls")
    sock_sendto = LazyMethod("net.sock_calls")
    sock_connect = LazyMethod("net.connect")
    sock_accept = LazyMethod("net.sock_calls")
    create_connection = LazyMethod("net.connect")
    _sock_sendfile_native = LazyMethod("net.sock_calls")

    # ---- transports over a user's own sockets

    async def create_unix_connection(self, protocol_factory, path=None, **options):
        """asyncio's method; the transport knows that `sock` belongs to the user."""
        with user_sockets.UserSocket(self, options.get("sock")):
            return await super().create_unix_connection(
                protocol_factory, path, **options)

    async def create_server(self, protocol_factory, host=None, port=None, *, sock=None,
                            **options):
        """asyncio's method; the listener knows that `sock` may have other owners."""
        with user_sockets.UserSocket(self, sock):
            return await super().create_server(
                protocol_factory, host, port, sock=sock, **options)

    async def create_unix_server(self, protocol_factory, path=None, *, sock=None,
                                 **options):
        """asyncio's method; the listener knows that `sock` may have other owners."""
        with user_sockets.UserSocket(self, sock):
            return await super().create_unix_server(
                protocol_factory, path, sock=sock, **options)

    async def connect_accepted_socket(self, protocol_factory, sock, **options):
        """asyncio's method; the transport knows that `sock` belongs to the user."""
        with user_sockets.UserSocket(self, sock):
            return await super().connect_accepted_socket(
                protocol_factory, sock, **options)

    async def create_datagram_endpoint(self, protocol_factory, *args, sock=None,
                                       **options):
        """asyncio's method; the transport knows that `sock` belongs to the user."""
        with user_sockets.UserSocket(self, sock):
            return await super().create_datagram_endpoint(
                protocol_factory, *args, sock=sock, **options)

    # ---- watches of descriptors

    _add_reader = watches._add_reader
    _remove_reader = watches._remove_reader
    _add_writer = watches._add_writer
    _remove_writer = watches._remove_writer

    # ---- hooks of the stdlib

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None,
                               server=None, context=None):
        if sock.fileno() in self._transport_refs:
            _compat.refuse_second_transport(self, sock)
        if overridden_sockets.overrides_io(sock):
            return overridden_sockets.OverriddenSocketTransport(
                self, sock, protocol, waiter, extra, server,
                **_compat.context_option(context))
        return stream.StreamTransport(
            self, sock, protocol, waiter, extra, server,
            user_sockets.is_users(self, sock), context)

    # create_connection() makes the transport itself while this is the method above.
    _own_make_socket_transport = _make_socket_transport

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None,
                                 extra=None):
        if overridden_sockets.overrides_io(sock):
            return super()._make_datagram_transport(
                sock, protocol, address, waiter, extra)
        _compat.refuse_second_transport(self, sock)
        return datagram.DatagramTransport(
            self, sock, protocol, address, waiter, extra,
            user_sockets.is_users(self, sock))

    def _make_ssl_transport(
            self, rawsock, protocol, sslcontext, waiter=None, *, server_side=False,
            server_hostname=None, extra=None, server=None,
            ssl_handshake_timeout=constants.SSL_HANDSHAKE_TIMEOUT,
            ssl_shutdown_timeout=constants.SSL_SHUTDOWN_TIMEOUT, context=None):
        """The stdlib's method, with our SSLProtocol on our stream transport."""
        ssl_protocol = tls_protocol.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout)
        self._make_socket_transport(
            rawsock, ssl_protocol, extra=extra, server=server,
            **_compat.context_option(context))
        return ssl_protocol._app_transport

    start_tls = LazyMethod("net.start_tls")

    def _make_read_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return pipes.ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return pipes.WritePipeTransport(self, pipe, protocol, waiter, extra)

    def _start_serving(self, protocol_factory, sock, sslcontext=None, server=None,
                       backlog=100,
                       ssl_handshake_timeout=constants.SSL_HANDSHAKE_TIMEOUT,
                       ssl_shutdown_timeout=constants.SSL_SHUTDOWN_TIMEOUT,
                       context=None):
        serving = dict(
            sslcontext=sslcontext, backlog=backlog,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout)
        self._listeners[sock] = listener.Listener(
            self, sock, protocol_factory, server, serving, context,
            user_sockets.is_users(self, sock))
        self._listeners[sock].start()

    def _stop_serving(self, sock):
        stopped = self._listeners.pop(sock, None)
        if stopped is not None:
            stopped.stop()
        super()._stop_serving(sock)


def flush_before_fork():
    """What is written before a fork is sent before the child exists, by the parent.
    Then the child has nothing to send, and sends at once what it writes itself."""
    loop = events._get_running_loop()
    if isinstance(loop, Loop):
        loop.held.finish()


os.register_at_fork(before=flush_before_fork)
