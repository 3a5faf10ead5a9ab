"""add_reader and add_writer: levels, removal, both directions, wrong descriptors."""

import asyncio
import contextlib
import os
import socket
import tempfile

from .endpoints import Recorder, settle, wired
from .framework import parity


@contextlib.contextmanager
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@parity
async def test_a_reader_is_told_again_while_data_is_left(loop, trace):
    with pair() as (near, far):
        done = loop.create_future()

        def readable():
            trace("readable", near.recv(2))
            if trace.events()[-1][1] == repr(b"ef"):
                done.set_result(None)

        loop.add_reader(near, readable)
        far.send(b"abcdef")
        await done
        trace("removed", loop.remove_reader(near))
        trace("again", loop.remove_reader(near))


@parity
async def test_a_reader_that_does_not_read_is_called_every_iteration(loop, trace):
    with pair() as (near, far):
        calls = []
        loop.add_reader(near, calls.append, 1)
        far.send(b"x")
        while not calls:
            await asyncio.sleep(0)
        before = len(calls)
        for _ in range(5):
            await asyncio.sleep(0)
        trace("calls in five iterations", len(calls) - before)
        loop.remove_reader(near)


@parity
async def test_a_writer_is_called_every_iteration(loop, trace):
    with pair() as (near, _):
        calls = []
        loop.add_writer(near, calls.append, 1)
        while not calls:
            await asyncio.sleep(0)
        before = len(calls)
        for _ in range(5):
            await asyncio.sleep(0)
        trace("calls in five iterations", len(calls) - before)
        trace("removed", loop.remove_writer(near), loop.remove_writer(near))
        before = len(calls)
        await settle(loop)
        trace("calls after removal", len(calls) - before)


@parity
async def test_both_directions_of_one_socket(loop, trace):
    with pair() as (near, far):
        done = loop.create_future()

        def writable():
            trace("writable")
            loop.remove_writer(near)
            far.send(b"x")

        def readable():
            trace("readable", near.recv(10))
            done.set_result(None)

        loop.add_reader(near, readable)
        loop.add_writer(near, writable)
        await done
        trace("removed", loop.remove_reader(near), loop.remove_writer(near))


@parity
async def test_ready_in_both_directions_reads_first(loop, trace):
    with pair() as (near, far):
        told = []
        far.send(b"x")
        loop.add_writer(near, told.append, "writable")
        loop.add_reader(near, told.append, "readable")
        await settle(loop, 1)
        loop.remove_reader(near)
        loop.remove_writer(near)
        trace("order", told[:2])


@parity
async def test_removal_inside_the_callback(loop, trace):
    with pair() as (near, far):

        def readable():
            trace("readable")
            trace("removed", loop.remove_reader(near))

        loop.add_reader(near, readable)
        far.send(b"x")
        await settle(loop)
        trace("settled")
        loop.add_reader(near, readable)
        await settle(loop)


@parity
async def test_one_callback_removes_another(loop, trace):
    """Both sockets are ready in the same iteration; only one may be told."""
    with pair() as (near, far), pair() as (other, other_far):
        told = []

        def first(mine, its):
            told.append(mine)
            loop.remove_reader(its)
            loop.remove_reader(mine)

        loop.add_reader(near, first, near, other)
        loop.add_reader(other, first, other, near)
        far.send(b"x")
        other_far.send(b"x")
        await settle(loop)
        trace("told", len(told))


@parity
async def test_a_new_callback_replaces_the_old(loop, trace):
    with pair() as (near, far):
        loop.add_reader(near, trace, "old")
        loop.add_reader(near, lambda: trace("new", near.recv(10)))
        far.send(b"x")
        await settle(loop)
        loop.add_reader(near, lambda: trace("newest", near.recv(10)))
        far.send(b"y")
        await settle(loop)
        trace("removed", loop.remove_reader(near))


@parity
async def test_replacing_inside_the_callback(loop, trace):
    with pair() as (near, far):

        def first():
            trace("first")
            loop.add_reader(near, lambda: trace("second", near.recv(10)))

        loop.add_reader(near, first)
        far.send(b"x")
        await settle(loop)
        loop.remove_reader(near)


@parity
async def test_the_end_of_a_stream_is_readable(loop, trace):
    with pair() as (near, far):
        loop.add_reader(near, lambda: trace("readable", near.recv(10)) or end())

        def end():
            if trace.events()[-1][1] == repr(b""):
                loop.remove_reader(near)

        far.send(b"last")
        far.close()
        await settle(loop, 6)
        trace("settled")


@parity
async def test_a_broken_pipe_is_writable(loop, trace):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:

        def writable():
            loop.remove_writer(writer)
            reader.close()
            trace.call("write", writer.write, b"x")

        loop.add_writer(writer, writable)
        await settle(loop)


@parity
async def test_a_hang_up_reaches_a_writer(loop, trace):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))

    def writable():
        trace("writable")
        loop.remove_writer(writing)

    loop.add_writer(writing, writable)
    await settle(loop)
    trace("full")
    os.close(reading)
    await settle(loop)
    os.close(writing)


@parity
async def test_wrong_descriptors(loop, trace):
    closed = socket.socket()
    closed.close()
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    wrong = {"negative": -1, "text": "x", "none": None, "float": 1.5, "closed": closed,
             "closed number": reading, "object": object()}
    for name, value in wrong.items():
        for method in ("add_reader", "add_writer"):
            trace.call_class(f"{method} {name}", getattr(loop, method), value, print)
        for method in ("remove_reader", "remove_writer"):
            trace.call_class(f"{method} {name}", getattr(loop, method), value)


@parity
async def test_a_plain_file_cannot_be_watched(loop, trace):
    with tempfile.TemporaryFile() as file:
        trace.call("add_reader", loop.add_reader, file, print)
        trace.call("add_writer", loop.add_writer, file, print)
        trace.call("remove_reader", loop.remove_reader, file)
        trace.call("remove_writer", loop.remove_writer, file)


@parity
async def test_the_descriptor_of_a_transport_is_taken(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    sock = transport.get_extra_info("socket")
    for name in ("add_reader", "add_writer"):
        trace.call(name, getattr(loop, name), sock, print)
        trace.call(name, getattr(loop, name), sock.fileno(), print)
    for name in ("remove_reader", "remove_writer"):
        trace.call(name, getattr(loop, name), sock)
    transport.close()
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_a_number_closed_while_watched_and_used_again(loop, trace):
    """Nothing of the old file may reach the callback of the new one."""
    near, far = socket.socketpair()
    loop.add_reader(near, trace, "old callback")
    number = near.fileno()
    loop.remove_reader(near)
    near.close()
    again, again_far = socket.socketpair()
    with far, again, again_far:
        trace("same number", again.fileno() == number)
        loop.add_reader(again, lambda: trace("new", again.recv(10)))
        again_far.send(b"for the new file")
        await settle(loop)
        trace("removed", loop.remove_reader(again))


@parity
async def test_callbacks_that_raise_are_called_again(loop, trace):
    with pair() as (near, far):
        calls = []

        def readable():
            calls.append(near.recv(1))
            if len(calls) == 3:
                loop.remove_reader(near)
            raise ValueError("broken")

        loop.add_reader(near, readable)
        far.send(b"abc")
        await settle(loop, 5)
        trace("calls", calls)


@parity
def test_watches_survive_between_runs(loop, trace):
    near, far = socket.socketpair()
    loop.add_reader(near, lambda: trace("readable", near.recv(10)) or loop.stop())
    loop.stop()
    loop.run_forever()
    trace("first run")
    far.send(b"x")
    loop.run_forever()
    far.send(b"y")
    loop.run_forever()
    loop.close()
    near.close()
    far.close()


@parity
async def test_watching_many_descriptors(loop, trace):
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(100)]
        heard = []
        for number, (near, _) in enumerate(pairs):
            loop.add_reader(near, lambda near=near: heard.append(near.recv(10)))
        for number, (_, far) in enumerate(pairs):
            far.send(b"%d" % number)
        while len(heard) < 100:
            await asyncio.sleep(0)
        trace("heard", sorted(heard))
        for near, _ in pairs:
            loop.remove_reader(near)
