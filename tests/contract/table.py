"""The private names of asyncio that uring_loop leans on: the one table to edit.

A signature is a string where every version agrees, else {version it begins with:
signature}, None where the name does not exist, a tuple where patch releases of one
version differ. "async " stands before coroutine functions. test_contract.py also fails
if our sources reach a private name that is missing here.
"""


def takes_context(signature):
    """What has one more parameter from 3.15 on: the context of a connection."""
    return {"3.11": signature, "3.15": signature.removesuffix(")") + ", context=None)"}


SIGNATURES = {
    # Overridden in uring_loop.Loop or its core: the stdlib calls us with these.
    "base_events.BaseEventLoop._make_socket_transport": (
        "(self, sock, protocol, waiter=None, *, extra=None, server=None)"
    ),
    "base_events.BaseEventLoop._make_ssl_transport": takes_context(
        "(self, rawsock, protocol, sslcontext, waiter=None, *, server_side=False, "
        "server_hostname=None, extra=None, server=None, ssl_handshake_timeout=None, "
        "ssl_shutdown_timeout=None, call_connection_made=True)"
    ),
    "base_events.BaseEventLoop._make_datagram_transport": (
        "(self, sock, protocol, address=None, waiter=None, extra=None)"
    ),
    "base_events.BaseEventLoop._make_read_pipe_transport": (
        "(self, pipe, protocol, waiter=None, extra=None)"
    ),
    "base_events.BaseEventLoop._make_write_pipe_transport": (
        "(self, pipe, protocol, waiter=None, extra=None)"
    ),
    "base_events.BaseEventLoop._make_subprocess_transport": (
        "async (self, protocol, args, shell, stdin, stdout, stderr, bufsize, "
        "extra=None, **kwargs)"
    ),
    "base_events.BaseEventLoop._process_events": "(self, event_list)",
    "base_events.BaseEventLoop._write_to_self": "(self)",
    "base_events.BaseEventLoop._run_once": "(self)",
    "base_events.BaseEventLoop._run_forever_setup": {
        "3.11": None,
        "3.13": "(self)",
    },
    "base_events.BaseEventLoop._run_forever_cleanup": {
        "3.11": None,
        "3.13": "(self)",
    },
    "base_events.BaseEventLoop._check_closed": "(self)",
    "base_events.BaseEventLoop._add_callback": "(self, handle)",
    "base_events.BaseEventLoop._timer_handle_cancelled": "(self, handle)",
    "base_events.BaseEventLoop._sendfile_fallback": (
        "async (self, transp, file, offset, count)"
    ),
    "base_events.BaseEventLoop.run_forever": "(self)",
    "base_events.BaseEventLoop.close": "(self)",
    "base_events.BaseEventLoop.stop": "(self)",
    "base_events.BaseEventLoop.time": "(self)",
    "base_events.BaseEventLoop.is_running": "(self)",
    "base_events.BaseEventLoop.is_closed": "(self)",
    "base_events.BaseEventLoop.get_debug": "(self)",
    "base_events.BaseEventLoop.call_soon": "(self, callback, *args, context=None)",
    "base_events.BaseEventLoop.call_soon_threadsafe": (
        "(self, callback, *args, context=None)"
    ),
    "base_events.BaseEventLoop.call_later": (
        "(self, delay, callback, *args, context=None)"
    ),
    "base_events.BaseEventLoop.call_at": "(self, when, callback, *args, context=None)",
    "base_events.BaseEventLoop.create_future": "(self)",
    "base_events.BaseEventLoop.create_task": {
        "3.11": "(self, coro, *, name=None, context=None)",
        # The second since a patch release.
        "3.13": (
            "(self, coro, *, name=None, context=None)",
            "(self, coro, *, name=None, context=None, **kwargs)",
        ),
        "3.14": "(self, coro, **kwargs)",
    },
    "selector_events.BaseSelectorEventLoop._make_socket_transport": takes_context(
        "(self, sock, protocol, waiter=None, *, extra=None, server=None)"
    ),
    "selector_events.BaseSelectorEventLoop._make_ssl_transport": takes_context(
        "(self, rawsock, protocol, sslcontext, waiter=None, *, server_side=False, "
        "server_hostname=None, extra=None, server=None, ssl_handshake_timeout=60.0, "
        "ssl_shutdown_timeout=30.0)"
    ),
    "selector_events.BaseSelectorEventLoop._make_self_pipe": "(self)",
    "selector_events.BaseSelectorEventLoop._close_self_pipe": "(self)",
    "selector_events.BaseSelectorEventLoop._read_from_self": "(self)",
    "selector_events.BaseSelectorEventLoop._write_to_self": "(self)",
    "selector_events.BaseSelectorEventLoop._start_serving": takes_context(
        "(self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, "
        "ssl_handshake_timeout=60.0, ssl_shutdown_timeout=30.0)"
    ),
    "selector_events.BaseSelectorEventLoop._stop_serving": "(self, sock)",
    "selector_events.BaseSelectorEventLoop._accept_connection": takes_context(
        "(self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, "
        "ssl_handshake_timeout=60.0, ssl_shutdown_timeout=30.0)"
    ),
    "selector_events.BaseSelectorEventLoop._accept_connection2": takes_context(
        "async (self, protocol_factory, conn, extra, sslcontext=None, server=None, "
        "ssl_handshake_timeout=60.0, ssl_shutdown_timeout=30.0)"
    ),
    "selector_events.BaseSelectorEventLoop._ensure_fd_no_transport": "(self, fd)",
    "selector_events.BaseSelectorEventLoop._add_reader": takes_context(
        "(self, fd, callback, *args)"
    ),
    "selector_events.BaseSelectorEventLoop._remove_reader": "(self, fd)",
    "selector_events.BaseSelectorEventLoop._add_writer": takes_context(
        "(self, fd, callback, *args)"
    ),
    "selector_events.BaseSelectorEventLoop._remove_writer": "(self, fd)",
    "selector_events.BaseSelectorEventLoop._process_events": "(self, event_list)",
    "selector_events.BaseSelectorEventLoop._sendfile_native": (
        "async (self, transp, file, offset, count)"
    ),
    "unix_events._UnixSelectorEventLoop.close": "(self)",
    "unix_events._UnixSelectorEventLoop._stop_serving": "(self, sock)",
    # Inherited and called by us, or the door to what we override.
    "base_events.BaseEventLoop._check_running": "(self)",
    "base_events.BaseEventLoop._check_thread": "(self)",
    "base_events.BaseEventLoop._check_callback": "(self, callback, method)",
    "base_events.BaseEventLoop._asyncgen_firstiter_hook": "(self, agen)",
    "base_events.BaseEventLoop._asyncgen_finalizer_hook": "(self, agen)",
    "base_events.BaseEventLoop._set_coroutine_origin_tracking": "(self, enabled)",
    "base_events.BaseEventLoop.call_exception_handler": "(self, context)",
    "base_events.BaseEventLoop._connect_sock": (
        "async (self, exceptions, addr_info, local_addr_infos=None)"
    ),
    "base_events.BaseEventLoop._create_connection_transport": takes_context(
        "async (self, sock, protocol_factory, ssl, server_hostname, "
        "server_side=False, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)"
    ),
    "selector_events.BaseSelectorEventLoop.__init__": "(self, selector=None)",
    "selector_events.BaseSelectorEventLoop._process_self_data": "(self, data)",
    "unix_events._UnixSelectorEventLoop.__init__": "(self, selector=None)",
    "unix_events._UnixSelectorEventLoop._process_self_data": "(self, data)",
    "unix_events._UnixSelectorEventLoop.create_unix_server": {
        "3.11": (
            "async (self, protocol_factory, path=None, *, sock=None, backlog=100, "
            "ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, "
            "start_serving=True)"
        ),
        "3.13": (
            "async (self, protocol_factory, path=None, *, sock=None, backlog=100, "
            "ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, "
            "start_serving=True, cleanup_socket=True)"
        ),
    },
    # Server: listeners and transports report to it; a thread's share of one is ours.
    "base_events.Server.__init__": (
        "(self, loop, sockets, protocol_factory, ssl_context, backlog, "
        "ssl_handshake_timeout, ssl_shutdown_timeout=None)"
    ),
    "base_events.Server._attach": {
        "3.11": "(self)",
        "3.13": "(self, transport)",
    },
    "base_events.Server._detach": {
        "3.11": "(self)",
        "3.13": "(self, transport)",
    },
    "base_events.Server._start_serving": "(self)",
    # Handles: ours have the same methods, and borrow the text of these.
    "events.Handle.__init__": "(self, callback, args, loop, context=None)",
    "events.Handle._run": "(self)",
    "events.Handle.cancel": "(self)",
    "events.Handle.cancelled": "(self)",
    "events.Handle.get_context": {
        "3.11": None,
        "3.12": "(self)",
    },
    "events.Handle._repr_info": "(self)",
    "events.TimerHandle.__init__": "(self, when, callback, args, loop, context=None)",
    "events.TimerHandle.when": "(self)",
    # TLS runs the stdlib's protocol over our stream.
    "sslproto.SSLProtocol.__init__": (
        "(self, loop, app_protocol, sslcontext, waiter, server_side=False, "
        "server_hostname=None, call_connection_made=True, ssl_handshake_timeout=None, "
        "ssl_shutdown_timeout=None)"
    ),
    "sslproto.SSLProtocol._get_app_transport": "(self)",
    "sslproto.SSLProtocol.connection_made": "(self, transport)",
    "sslproto.SSLProtocol.get_buffer": "(self, n)",
    "sslproto.SSLProtocol.buffer_updated": "(self, nbytes)",
    "sslproto.SSLProtocol._on_handshake_complete": "(self, handshake_exc)",
    "sslproto.SSLProtocol._get_read_buffer_size": "(self)",
    "sslproto.SSLProtocol._do_read": "(self)",
    "sslproto.SSLProtocol._do_read__buffered": "(self)",
    "sslproto.SSLProtocol._do_write": "(self)",
    "sslproto.SSLProtocol._process_outgoing": "(self)",
    "sslproto.SSLProtocol._control_app_writing": "(self)",
    "sslproto.SSLProtocol._control_ssl_reading": "(self)",
    "sslproto.SSLProtocol._call_eof_received": "(self)",
    "sslproto.SSLProtocol._start_shutdown": "(self)",
    "sslproto.SSLProtocol._fatal_error": (
        "(self, exc, message='Fatal error on transport')"
    ),
    "sslproto._SSLProtocolTransport.__init__": "(self, loop, ssl_protocol)",
    "sslproto._SSLProtocolTransport.write": "(self, data)",
    "selector_events._SelectorTransport._force_close": "(self, exc)",
    "selector_events._SelectorTransport._fatal_error": (
        "(self, exc, message='Fatal error on transport')"
    ),
    # Helpers.
    "base_events._set_nodelay": "(sock)",
    "base_events._format_handle": "(handle)",
    "base_events._run_until_complete_cb": "(fut)",
    "events._set_running_loop": "(loop, /)",
    "events._get_running_loop": "()",
    "futures._set_result_unless_cancelled": "(fut, result)",
    "format_helpers.extract_stack": "(f=None, limit=None)",
    "format_helpers._format_callback_source": {
        "3.11": "(func, args)",
        "3.13": "(func, args, *, debug=False)",
    },
    "protocols._feed_data_to_buffered_proto": "(proto, data)",
    "transports._FlowControlMixin.__init__": "(self, extra=None, loop=None)",
    "trsock.TransportSocket.__init__": "(self, sock: socket.socket)",
}

# Fields that BaseEventLoop.__init__ and its selector child set, and that live in our
# compiled core or are read by it.
FIELDS = {
    "_asyncgens": "3.11",
    "_asyncgens_shutdown_called": "3.11",
    "_clock_resolution": "3.11",
    "_closed": "3.11",
    "_coroutine_origin_tracking_enabled": "3.11",
    "_coroutine_origin_tracking_saved_depth": "3.11",
    "_csock": "3.11",
    "_current_handle": "3.11",
    "_debug": "3.11",
    "_default_executor": "3.11",
    "_exception_handler": "3.11",
    "_executor_shutdown_called": "3.11",
    "_internal_fds": "3.11",
    "_old_agen_hooks": "3.13",
    "_ready": "3.11",
    "_scheduled": "3.11",
    "_selector": "3.11",
    "_signal_handlers": "3.11",
    "_ssock": "3.11",
    "_stopping": "3.11",
    "_task_factory": "3.11",
    "_thread_id": "3.11",
    "_timer_cancelled_count": "3.11",
    "_transports": "3.11",
    "_unix_server_sockets": "3.13",
    "_watcher": "3.14",
    "slow_callback_duration": "3.11",
}

# Constants of asyncio.constants and asyncio.base_events that we copy or read.
CONSTANTS = {
    "constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES": 5,
    "constants.ACCEPT_RETRY_DELAY": 1,
    "constants.DEBUG_STACK_DEPTH": 10,
    "constants.SSL_HANDSHAKE_TIMEOUT": 60.0,
    "constants.SSL_SHUTDOWN_TIMEOUT": 30.0,
    "constants.SENDFILE_FALLBACK_READBUFFER_SIZE": 262144,
    "base_events._MIN_SCHEDULED_TIMER_HANDLES": 100,
    "base_events._MIN_CANCELLED_TIMER_HANDLES_FRACTION": 0.5,
    "base_events.MAXIMUM_SELECT_TIMEOUT": 86400,
}

# Names that must be there, whatever they are: {name: since}.
PRESENT = {
    "constants._SendfileMode.TRY_NATIVE": "3.11",
    "constants._SendfileMode.FALLBACK": "3.11",
    "constants._SendfileMode.UNSUPPORTED": "3.11",
    "tasks._enter_task": "3.11",
    "tasks._leave_task": "3.11",
    "sslproto.SSLAgainErrors": "3.11",
    "sslproto.SSLProtocolState.WRAPPED": "3.11",
    "sslproto.SSLProtocolState.FLUSHING": "3.11",
    "sslproto._SSLProtocolTransport": "3.11",
    "selector_events._SelectorSocketTransport": "3.11",
    "selector_events._SelectorDatagramTransport": "3.11",
    "unix_events._UnixReadPipeTransport._read_ready": "3.11",
    "unix_events._UnixWritePipeTransport.write": "3.11",
    "unix_events._UnixWritePipeTransport._maybe_pause_protocol": "3.11",
    "unix_events._UnixWritePipeTransport._write_ready": "3.11",
    "unix_events._UnixSubprocessTransport": "3.11",
    "events._ThreadSafeHandle": "3.14",
    "events._set_event_loop_policy": "3.14",
    "unix_events._DefaultEventLoopPolicy": "3.14",
}

# Attributes of a handle that asyncio's tools and debug output read.
HANDLE_SLOTS = (
    "_callback",
    "_args",
    "_context",
    "_loop",
    "_cancelled",
    "_repr",
    "_source_traceback",
)
TIMER_SLOTS = ("_when", "_scheduled")
