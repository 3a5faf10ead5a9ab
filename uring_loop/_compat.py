"""Differences between Python versions; no other module depends on the version."""

import asyncio
import importlib
import sys
import threading
from asyncio import events, format_helpers, selector_events, unix_events

# From 3.15 on traceback imports this module only when it prints the first traceback.
# The loop must be able to print one after chroot().
if sys.version_info >= (3, 15):
    importlib.import_module("_colorize")

# From 3.13 on a server keeps its connections in a WeakSet.
SERVERS_KNOW_CLIENTS = sys.version_info >= (3, 13)
if SERVERS_KNOW_CLIENTS:
    def attach_to_server(server, transport):
        server._attach(transport)

    def detach_from_server(server, transport):
        server._detach(transport)

    def run_forever_setup(loop):
        loop._check_closed()
        loop._check_running()
        try:
            loop._run_forever_setup()
        except BaseException:
            # A loop that is still marked as running could not be closed.
            loop._run_forever_cleanup()
            raise

    def run_forever_cleanup(loop):
        loop._run_forever_cleanup()
else:
    def attach_to_server(server, transport):
        server._attach()

    def detach_from_server(server, transport):
        server._detach()

    # The two halves of BaseEventLoop.run_forever, which 3.13 made methods.
    def run_forever_setup(loop):
        loop._check_closed()
        loop._check_running()
        loop._old_agen_hooks = sys.get_asyncgen_hooks()
        loop._thread_id = threading.get_ident()
        try:
            loop._set_coroutine_origin_tracking(loop._debug)
            sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook,
                                   finalizer=loop._asyncgen_finalizer_hook)
            events._set_running_loop(loop)
        except BaseException:
            # A loop that is still marked as running could not be closed.
            run_forever_cleanup(loop)
            raise

    def run_forever_cleanup(loop):
        loop._stopping = False
        loop._thread_id = None
        events._set_running_loop(None)
        loop._set_coroutine_origin_tracking(False)
        sys.set_asyncgen_hooks(*loop._old_agen_hooks)

if sys.version_info >= (3, 12):
    def refuse_second_transport(loop, sock):
        """Raise asyncio's RuntimeError if another transport uses this socket."""
        loop._ensure_fd_no_transport(sock)
else:
    def refuse_second_transport(loop, sock):
        """asyncio of this version does not check."""

# From 3.15 on all callbacks of a connection run in one context, made with it. Earlier
# versions copy the context for each callback from that of its cause.
CONTEXT_PER_CONNECTION = sys.version_info >= (3, 15)


def accepted_context():
    """That of a connection that the current task serves; None before 3.15."""
    return asyncio.current_task().get_context() if CONTEXT_PER_CONNECTION else None


def context_option(context):
    """The keyword argument that passes a connection's context on, if it has one:
    overrides that were written for earlier versions do not know it."""
    return {} if context is None else {"context": context}

# From 3.15 on a timer is due within a unit in the last place of the time, if that is
# more than the resolution of the clock. Before, a clock that shows huge numbers could
# stand just before a timer for ever.
DUE_WITHIN_ULP = sys.version_info >= (3, 15)

# Is writelines() the same as write() of the joined lines? From 3.12 on it has error
# messages of its own, and takes a memoryview() of each line.
WRITELINES_JOINS = sys.version_info < (3, 12)


def skips_false_lines():
    """Does writelines() skip every false object, such as None, without a TypeError?
    Yes since a patch release of 3.14: asked of a transport without a socket."""
    transport = selector_events._SelectorSocketTransport.__new__(
        selector_events._SelectorSocketTransport)
    transport._eof, transport._empty_waiter, transport._conn_lost = False, None, 0
    transport._buffer = []
    try:
        transport.writelines([None])
    except TypeError:
        return False
    return True


WRITELINES_SKIPS_FALSE = skips_false_lines()

# Waiting datagrams count this number of bytes more than their payload, so that empty
# ones, which are sent from 3.13 on, count as well.
SENDS_EMPTY_DATAGRAMS = sys.version_info >= (3, 13)
DATAGRAM_HEADER_BYTES = 8 if SENDS_EMPTY_DATAGRAMS else 0

def parameters(function):
    """The names of a function's parameters. inspect.signature() would take longer than
    the rest of this module."""
    code = function.__code__
    return code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]


def writable_types():
    """The types that write() accepts, in the words of this patch release of Python."""
    write = selector_events._SelectorSocketTransport.write
    texts = "".join(text for text in write.__code__.co_consts if isinstance(text, str))
    if "memoryview" in texts:
        return "a bytes, bytearray, or memoryview object"
    return "a bytes-like object"


# From 3.14 on, the handles of call_soon_threadsafe can be cancelled by any thread.
ThreadSafeHandle = getattr(events, "_ThreadSafeHandle", None)

# Does sendfile() of no bytes set the file's position to the given offset? Yes since a
# patch release of 3.13; earlier versions leave the position.
SENDFILE_ALWAYS_SEEKS = "total_sent" not in parameters(
    asyncio.SelectorEventLoop._sock_sendfile_update_filepos)

# Does os.link() without descriptors follow a symbolic link? Before 3.14 it called
# link(2) then, which never follows one, whatever `follow_symlinks` was.
LINK_FOLLOWS_NAMES = sys.version_info >= (3, 14)

# Since a patch release of 3.12 the arguments of a callback are shown in debug mode
# only.
if "debug" in parameters(format_helpers._format_callback_source):
    def format_callback(loop, callback, args):
        return format_helpers._format_callback_source(
            callback, args, debug=loop.get_debug())
else:
    def format_callback(loop, callback, args):
        return format_helpers._format_callback_source(callback, args)

# Where an `_ssl._SSLSocket` has its SSL, by the size of the object. Proofs follow
# before it is used: net/tls_trust.py. Releases with a mutex at the end are eight bytes
# longer.
SSL_LAYOUTS = {
    (3, 11): {96: 24}, (3, 12): {80: 24}, (3, 13): {80: 24, 88: 24},
    (3, 14): {88: 24}, (3, 15): {72: 24},
}.get(sys.version_info[:2], {})

# asyncio deprecates policies from 3.14 on and has none from 3.16 on. The public names
# warn from 3.14 on; the private ones behind them do not.
set_policy = getattr(events, "_set_event_loop_policy", None) or getattr(
    events, "set_event_loop_policy", None)
HAS_POLICIES = set_policy is not None
if not HAS_POLICIES:
    DefaultPolicy = object
elif sys.version_info >= (3, 14):
    DefaultPolicy = unix_events._DefaultEventLoopPolicy
else:
    DefaultPolicy = unix_events.DefaultEventLoopPolicy

if sys.version_info >= (3, 14) or not HAS_POLICIES:
    def has_other_child_watcher():
        return False
else:
    def has_other_child_watcher():
        """Has a program set a child watcher that is not one of asyncio's defaults?

        This reads `_watcher`: get_child_watcher() would make one and warn.
        """
        watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
        return type(watcher) not in (
            type(None), asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher)

if sys.version_info >= (3, 12):
    def run(main, *, debug, loop_factory):
        return asyncio.run(main, debug=debug, loop_factory=loop_factory)
else:
    def run(main, *, debug, loop_factory):
        """asyncio.run of 3.11 takes no loop_factory; its Runner does."""
        if events._get_running_loop() is not None:
            raise RuntimeError(
                "asyncio.run() cannot be called from a running event loop")
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            return runner.run(main)

# These suspend the current task of a loop while its thread runs another loop.
leave_task = asyncio.tasks._leave_task
enter_task = asyncio.tasks._enter_task

# How a task came to where it waits; from 3.14 on, else None.
format_call_graph = getattr(asyncio, "format_call_graph", None)
