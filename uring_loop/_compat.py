"""The only place where the version of Python decides what is done."""

import asyncio
import sys
import threading
from asyncio import events, format_helpers, selector_events

# From 3.13 on a server knows its connections: they are in a WeakSet of its.
SERVERS_KNOW_CLIENTS = sys.version_info >= (3, 13)
if SERVERS_KNOW_CLIENTS:
    def attach_to_server(server, transport):
        server._attach(transport)

    def detach_from_server(server, transport):
        server._detach(transport)

    def run_forever_setup(loop):
        loop._run_forever_setup()

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
            # A loop that is marked as running could not be closed.
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
        """RuntimeError if another transport uses this socket, as asyncio says."""
        loop._ensure_fd_no_transport(sock)
else:
    def refuse_second_transport(loop, sock):
        """asyncio of this version lets it pass."""

# Is writelines() just write() of all lines joined? From 3.12 on it has messages of its
# own, and takes each line by memoryview().
WRITELINES_JOINS = sys.version_info < (3, 12)

# What each datagram that waits counts beside its bytes, so that empty ones, which 3.13
# began to send, count as well.
SENDS_EMPTY_DATAGRAMS = sys.version_info >= (3, 13)
DATAGRAM_HEADER_BYTES = 8 if SENDS_EMPTY_DATAGRAMS else 0

def parameters(function):
    """Their names. inspect.signature() takes longer than all the rest of this file."""
    code = function.__code__
    return code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]


def writable_types():
    """What write() asks for, in this Python's words: a patch release changed them."""
    write = selector_events._SelectorSocketTransport.write
    said = "".join(text for text in write.__code__.co_consts if isinstance(text, str))
    if "memoryview" in said:
        return "a bytes, bytearray, or memoryview object"
    return "a bytes-like object"


# From 3.14 on, the handles of call_soon_threadsafe can be cancelled by any thread.
ThreadSafeHandle = getattr(events, "_ThreadSafeHandle", None)

# Where a file stands after sendfile() of nothing: at the offset asked for, or still
# where it stood before some patch release of 3.13.
SENDFILE_ALWAYS_SEEKS = "total_sent" not in parameters(
    asyncio.SelectorEventLoop._sock_sendfile_update_filepos)

# Does os.link() follow a symbolic link if it is given no descriptor, too? Before 3.14
# it was link(2) then, which never follows, whatever `follow_symlinks` said.
LINK_FOLLOWS_NAMES = sys.version_info >= (3, 14)

# Hides a callback's arguments but in debug mode: came in a patch release of 3.12.
if "debug" in parameters(format_helpers._format_callback_source):
    def format_callback(loop, callback, args):
        return format_helpers._format_callback_source(
            callback, args, debug=loop.get_debug())
else:
    def format_callback(loop, callback, args):
        return format_helpers._format_callback_source(callback, args)

if sys.version_info >= (3, 14):
    def has_other_child_watcher():
        return False
else:
    def has_other_child_watcher():
        """Has a program set a child watcher that is not one of asyncio's defaults?

        `_watcher`, since get_child_watcher() would make one, and warns.
        """
        watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
        return type(watcher) not in (
            type(None), asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher)

# asyncio deprecates policies from 3.14 on and has none from 3.16 on. Its own classes
# and functions warn from 3.14 on; what they are made of does not.
HAS_POLICIES = sys.version_info < (3, 16)
if not HAS_POLICIES:
    DefaultPolicy = object
    set_policy = None
elif sys.version_info >= (3, 14):
    DefaultPolicy = asyncio.unix_events._DefaultEventLoopPolicy
    set_policy = events._set_event_loop_policy
else:
    DefaultPolicy = asyncio.DefaultEventLoopPolicy
    set_policy = asyncio.set_event_loop_policy

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

# The current task of a loop, put aside while its thread runs something else.
leave_task = asyncio.tasks._leave_task
enter_task = asyncio.tasks._enter_task
