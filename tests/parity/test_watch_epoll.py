"""What a watch is by the rules of epoll: closed and replaced files, devices, order."""

import asyncio
import os
import socket
import tempfile

import pytest

from .endpoints import settle
from .framework import parity
from .test_watch import pair


@parity
async def test_a_file_closed_while_watched_is_closed_for_its_peer(loop, trace):
    near, far = socket.socketpair()
    far.setblocking(False)
    number = near.fileno()
    loop.add_reader(number, trace, "called")
    await settle(loop)
    near.close()
    with far:
        trace.call("peer sees", far.recv, 10)
        await settle(loop)
        trace("removed", loop.remove_reader(number), loop.remove_reader(number))


@parity
async def test_a_closed_socket_can_still_be_removed(loop, trace):
    near, far = socket.socketpair()
    loop.add_reader(near, trace, "called")
    near.close()
    trace.call("remove", loop.remove_reader, near)
    trace.call("again", loop.remove_reader, near)
    far.close()


@pytest.mark.parametrize("then", ["add_reader", "add_writer", "remove_reader"])
@parity
async def test_a_number_that_got_another_file_while_watched(loop, trace, then):
    """asyncio does not notice; neither the old file nor the new one is heard of."""
    with pair() as (near, far), pair() as (other, other_far):
        number = near.fileno()
        loop.add_reader(number, trace, "old callback")
        os.dup2(other.fileno(), number)
        trace.call("peer sees", far.recv, 10)
        arguments = () if then == "remove_reader" else (trace, "new callback")
        trace.call(then, getattr(loop, then), number, *arguments)
        other_far.send(b"x")
        await settle(loop)
        loop.remove_writer(number)
        trace("removed", loop.remove_reader(number))


@parity
async def test_a_watched_number_that_was_closed_and_watched_again(loop, trace):
    near, far = socket.socketpair()
    number = near.fileno()
    loop.add_reader(number, trace, "old callback")
    near.close()
    again, again_far = socket.socketpair()
    trace("same number", again.fileno() == number)
    again_far.send(b"x")
    with far, again, again_far:
        loop.add_reader(number, trace, "new callback")
        await settle(loop)
        trace("removed", loop.remove_reader(number))
        loop.add_reader(number, lambda: trace("at last", again.recv(10)))
        await settle(loop)
        trace("removed", loop.remove_reader(number))


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/usr", "/proc/self/stat"])
@parity
async def test_devices_and_directories(loop, trace, path):
    number = os.open(path, os.O_RDONLY)
    for name in ("reader", "writer"):
        trace.call("add", getattr(loop, f"add_{name}"), number, print)
        trace.call("remove", getattr(loop, f"remove_{name}"), number)
    os.close(number)


@parity
async def test_a_terminal(loop, trace):
    main, other = os.openpty()
    os.set_blocking(main, False)
    got = loop.create_future()
    loop.add_reader(main, lambda: got.done() or got.set_result(os.read(main, 10)))
    os.write(other, b"typed")
    trace("read", await got)
    loop.add_writer(main, trace, "writable")
    loop.remove_writer(main)
    os.close(other)
    hung_up = loop.create_future()
    loop.add_reader(main, lambda: hung_up.done() or hung_up.set_result(None))
    await hung_up
    trace.call("read", os.read, main, 10)
    trace("removed", loop.remove_reader(main))
    os.close(main)


@parity
async def test_order_within_an_iteration(loop, trace):
    """What call_soon was given before comes first, then watches, then timers."""
    with pair() as (near, far):
        def readable():
            trace("readable", near.recv(10))
            loop.call_soon(trace, "soon, from the reader")

        loop.add_reader(near, readable)
        await settle(loop)
        for _ in range(3):
            over = loop.create_future()
            loop.call_soon(trace, "soon")
            loop.call_later(0, trace, "timer")
            far.send(b"x")
            loop.call_later(0.01, over.set_result, None)
            await over
        loop.remove_reader(near)


@parity
async def test_order_while_a_descriptor_stays_ready(loop, trace):
    with pair() as (near, far):
        done = loop.create_future()
        calls = []

        def readable():
            calls.append(None)
            trace("readable")
            loop.call_soon(trace, "soon")
            if len(calls) == 4:
                loop.remove_reader(near)
                loop.call_soon(done.set_result, None)

        loop.add_reader(near, readable)
        far.send(b"x")
        await done


@parity
async def test_one_callback_adds_another_that_is_ready(loop, trace):
    """It is called in the next iteration, not in this one."""
    with pair() as (near, far), pair() as (other, other_far):
        far.send(b"x")
        other_far.send(b"x")
        done = loop.create_future()

        def first():
            trace("first")
            loop.remove_reader(near)
            loop.call_soon(trace, "soon")
            loop.add_reader(other, second)

        def second():
            trace("second")
            loop.remove_reader(other)
            done.set_result(None)

        loop.add_reader(near, first)
        await done


@parity
async def test_the_reader_removes_the_writer_of_the_same_event(loop, trace):
    with pair() as (near, far):
        far.send(b"x")

        def readable():
            trace("readable")
            trace("removed", loop.remove_writer(near), loop.remove_reader(near))

        loop.add_reader(near, readable)
        loop.add_writer(near, trace, "writable")
        await settle(loop)


@parity
async def test_one_of_two_directions_is_removed(loop, trace):
    with pair() as (near, far):
        loop.add_reader(near, lambda: trace("readable", near.recv(10)))
        loop.add_writer(near, trace.lane("writer"), "writable")
        trace("removed", loop.remove_writer(near), loop.remove_writer(near))
        far.send(b"x")
        await settle(loop)
        loop.add_writer(near, trace.lane("writer"), "writable")
        trace("removed", loop.remove_reader(near), loop.remove_reader(near))
        far.send(b"unheard")
        trace("and", loop.remove_writer(near))
        await settle(loop)
        trace("settled")


@parity
async def test_a_handle_that_cancels_itself_ends_its_watch(loop, trace):
    """Private, but this is how a callback that nobody wants any more is found."""
    with pair() as (near, far):
        handle = loop._add_reader(near.fileno(), trace, "called")
        trace("a handle", isinstance(handle, asyncio.Handle), handle.cancelled())
        handle.cancel()
        far.send(b"x")
        await settle(loop)
        trace("still there", loop.remove_reader(near))


@parity
async def test_what_is_registered_can_be_seen(loop, trace):
    with pair() as (near, far):
        loop.add_reader(near, print)
        loop.add_writer(far.fileno(), print)
        for file in (near, near.fileno(), far, far.fileno()):
            key = loop._selector.get_key(file)
            trace("key", key.events, key.fd in (near.fileno(), far.fileno()))
            trace("handles", [handle is not None for handle in key.data])
        trace("map", near.fileno() in loop._selector.get_map())
        loop.remove_reader(near)
        loop.remove_writer(far)
        for file in (near, near.fileno(), -1):
            trace.call_class("gone", loop._selector.get_key, file)


@parity
async def test_a_callback_runs_in_the_context_of_add_reader(loop, trace):
    import contextvars

    variable = contextvars.ContextVar("variable", default="outside")
    with pair() as (near, far):
        heard = loop.create_future()
        variable.set("when added")
        loop.add_reader(near, lambda: heard.done() or heard.set_result(variable.get()))
        variable.set("later")
        far.send(b"x")
        trace("sees", await heard)
        loop.remove_reader(near)


@parity
async def test_debug_mode_names_the_callback_that_is_slow(loop, trace):
    with pair() as (near, far):
        done = loop.create_future()

        def readable():
            near.recv(10)
            # Read when the callback has returned.
            loop.slow_callback_duration = 0
            done.set_result(None)

        loop.add_reader(near, readable)
        loop.set_debug(True)
        far.send(b"x")
        await done
        loop.slow_callback_duration = 1000
        loop.remove_reader(near)


@parity
def test_interrupted_callbacks_leave_the_others_to_the_next_run(loop, trace):
    with pair() as (near, far), pair() as (other, other_far):
        told = []

        def interrupt(mine):
            told.append(mine)
            loop.remove_reader(mine)
            raise KeyboardInterrupt

        for mine, its in ((near, far), (other, other_far)):
            its.send(b"x")
            loop.add_reader(mine, interrupt, mine)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.run_forever()
        trace("told", len(told), len(set(told)))
        loop.call_soon(loop.stop)
        loop.run_forever()
        trace("closed for good", loop.remove_reader(near))


@parity
def test_a_closed_loop_watches_nothing(loop, trace):
    with pair() as (near, _), tempfile.TemporaryFile() as file:
        loop.add_reader(near, print)
        loop.close()
        for name in ("reader", "writer"):
            trace.call("add", getattr(loop, f"add_{name}"), near, print)
            trace.call("remove", getattr(loop, f"remove_{name}"), near)
            trace.call("add file", getattr(loop, f"add_{name}"), file, print)
