"""Writes that are held back, and whoever could notice: it finds everything sent.

Whether something has been sent is asked of the peer, a plain socket, without waiting.
"""

import asyncio
import collections
import contextlib
import os
import socket
import subprocess

import pytest

from .company import connected, in_company, over, there
from .endpoints import (
    Recorder,
    in_thread,
    pattern,
    read_exactly,
    read_to_end,
    reset,
    settle,
    wired,
)
from .framework import parity, promise

# See conftest.py.
GATHERS_WRITES = True

families = pytest.mark.parametrize("family", ("tcp", "unix"))

LOOKING = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "set_write_buffer_limits": lambda t: t.set_write_buffer_limits(high=100),
    "set_protocol": lambda t: t.set_protocol(t.get_protocol()),
    "fileno": lambda t: t.get_extra_info("socket").fileno() >= 0,
    "run_in_executor": lambda t: t._loop.run_in_executor(None, bool) and None,
}


@pytest.mark.parametrize("name", LOOKING)
@families
@parity
async def test_whoever_looks_finds_it_sent(loop, trace, family, name):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)

    def write_and_look():
        transport.write(b"a ")
        transport.write(b"word")
        trace("answer", LOOKING[name](transport))
        trace("the peer has", there(peer))

    await in_company(loop, write_and_look)
    if name not in ("close", "abort"):
        transport.abort()
    await protocol.happens("connection_lost")
    peer.close()


@pytest.mark.parametrize("name", ("close", "abort"))
@families
@parity
async def test_another_callback_ends_a_connection_that_holds_something(
        loop, trace, family, name):
    protocol = Recorder(trace.lane("near"))
    transport, peer = await wired(loop, family, protocol)
    await in_company(loop, lambda: transport.write(b"the last word"),
                     getattr(transport, name))
    trace("the peer has", await in_thread(loop, read_to_end, peer))
    await protocol.happens("connection_lost")
    peer.close()


@parity
async def test_a_process_is_started_behind_what_was_written(loop, trace, monkeypatch):
    transport, peer = await connected(loop, trace)

    class Noticed(subprocess.Popen):
        def __init__(self, *args, **options):
            trace("the peer has", there(peer))
            super().__init__(*args, **options)

    async def start():
        transport.write(b"before")
        process = await asyncio.create_subprocess_exec("true")
        trace("exit status", await process.wait())

    with monkeypatch.context() as patches:
        patches.setattr(subprocess, "Popen", Noticed)
        starting = loop.create_task(start())
        await asyncio.sleep(0)
        await starting
    await over((transport, peer))


@parity
async def test_a_file_follows_its_header(loop, trace, tmp_path):
    (tmp_path / "file").write_bytes(pattern(50_000))
    transport, peer = await connected(loop, trace, "tcp")

    async def send():
        with open(tmp_path / "file", "rb") as file:
            transport.write(b"header ")
            trace("sent", await loop.sendfile(transport, file))
        transport.write(b" trailer")

    sending = loop.create_task(send())
    await asyncio.sleep(0)
    received = await in_thread(loop, read_exactly, peer, 50_015)
    trace("in order", received == b"header " + pattern(50_000) + b" trailer")
    await sending
    await over((transport, peer))


@parity
async def test_os_sendfile_follows_its_header(loop, trace, tmp_path):
    (tmp_path / "file").write_bytes(b"contents")
    transport, peer = await connected(loop, trace, "tcp")
    sock = transport.get_extra_info("socket")
    kept = []

    def send():
        with open(tmp_path / "file", "rb") as file:
            for number in range(2):
                transport.write(b"header ")
                # Once asked for, the number may be kept.
                kept.append(kept[0] if kept else sock.fileno())
                os.sendfile(kept[-1], file.fileno(), 0, 8)

    await in_company(loop, send)
    trace("the peer has", await in_thread(loop, read_exactly, peer, 30))
    await over((transport, peer))


@parity
async def test_other_ways_out_keep_the_order(loop, trace):
    """A datagram, a pipe and a user's own socket send at once, behind what waits."""
    transport, peer = await connected(loop, trace)
    datagrams, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 9))
    read_fd, write_fd = os.pipe()
    pipe, _ = await loop.connect_write_pipe(
        asyncio.BaseProtocol, os.fdopen(write_fd, "wb", 0))
    near, far = socket.socketpair()
    near.setblocking(False)

    def through_datagrams():
        transport.write(b"first")
        datagrams.sendto(b"anybody there?")
        trace("before the datagram", there(peer))

    def through_a_pipe():
        transport.write(b"second")
        pipe.write(b"once more")
        trace("before the pipe", there(peer))

    def through_a_socket():
        transport.write(b"third")
        with contextlib.suppress(StopIteration):
            loop.sock_sendall(near, b"and again").send(None)
        trace("before the socket", there(peer))

    await in_company(loop, through_datagrams, through_a_pipe, through_a_socket)
    trace("in the pipe", os.read(read_fd, 100))
    datagrams.abort()
    pipe.abort()
    os.close(read_fd)
    near.close()
    far.close()
    await over((transport, peer))


# ---- ends -------------------------------------------------------------------------


@parity
def test_ctrl_c_between_two_writes_loses_none(loop, trace):
    connections = [loop.run_until_complete(connected(loop, trace, "unix", name))
                   for name in "ab"]
    (first, peer), (second, peer_2) = connections

    def interrupted():
        first.write(b" and more")
        raise KeyboardInterrupt

    loop.call_soon(first.write, b"written")
    loop.call_soon(second.write, b"as well")
    loop.call_soon(interrupted)
    loop.call_soon(second.write, b" later")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    trace("sent", there(peer), there(peer_2))
    loop.run_until_complete(asyncio.sleep(0))
    trace("sent then", there(peer), there(peer_2))
    loop.run_until_complete(over(*connections))


@parity
def test_the_end_of_a_run_leaves_nothing_held_back(loop, trace):
    transport, peer = loop.run_until_complete(connected(loop, trace))
    loop.call_soon(transport.write, b"one")
    loop.call_soon(loop.stop)
    loop.call_soon(transport.write, b", two")
    loop.run_forever()
    trace("the peer has", there(peer))
    loop.run_until_complete(over((transport, peer)))


@parity
async def test_a_connection_that_fails_keeps_no_other_waiting(loop, trace):
    failing, peer_1 = await connected(loop, trace, "tcp", "failing")
    behind, peer_2 = await connected(loop, trace, "unix", "behind")
    protocol = failing.get_protocol()
    failing.pause_reading()
    reset(peer_1)
    await settle(loop)
    await in_company(loop, lambda: failing.write(b"in vain"),
                     lambda: behind.write(b"all the same"))
    await asyncio.sleep(0)
    trace("the peer has", there(peer_2))
    await protocol.happens("connection_lost")
    await over((behind, peer_2))


@promise
def test_an_interruption_in_one_connections_end_keeps_no_other_waiting(loop, trace):
    failing, peer_1 = loop.run_until_complete(
        connected(loop, trace, "tcp", "failing"))
    behind, peer_2 = loop.run_until_complete(connected(loop, trace))
    protocol = failing.get_protocol()

    async def prepare():
        failing.pause_reading()
        reset(peer_1)
        await settle(loop)

    loop.run_until_complete(prepare())
    class Ready(collections.deque):
        interrupts = True

        def append(self, handle):
            if self.interrupts and handle._callback == failing._call_connection_lost:
                self.interrupts = False
                raise KeyboardInterrupt
            super().append(handle)

    loop._ready = Ready()
    loop.call_soon(failing.write, b"in vain")
    loop.call_soon(behind.write, b"all the same")
    loop.call_soon(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert there(peer_2) == b"all the same"
    failing.abort()
    loop.run_until_complete(protocol.happens("connection_lost"))
    loop.run_until_complete(over((behind, peer_2)))


@parity
def test_a_forked_child_sends_only_what_it_writes_itself(loop, trace):
    transport, peer = loop.run_until_complete(connected(loop, trace))
    children = []

    def fork():
        transport.write(b"once, ")
        children.append(os.fork())
        if children == [0]:
            transport.write(b"by the child, ")
            os._exit(0)
        os.waitpid(children[0], 0)
        trace("the peer has", there(peer))
        transport.write(b"by the parent")

    loop.call_soon(fork)
    loop.call_soon(lambda: None)
    loop.run_until_complete(asyncio.sleep(0))
    trace("and then", there(peer))
    loop.run_until_complete(over((transport, peer)))


# ---- a guest ----------------------------------------------------------------------


@promise
def test_a_guests_turn_ends_with_nothing_held_back(loop, trace):
    transport, peer = loop.run_until_complete(connected(loop, trace))
    guest = loop.guest(budget=0)
    with guest.running():
        loop.call_soon(transport.write, b"in a turn")
        loop.call_soon(lambda: None)
        guest.dispatch()    # for no time at all: one callback
        assert there(peer) == b"in a turn"
        while guest.check():
            guest.dispatch()
    loop.run_until_complete(over((transport, peer)))


@promise
def test_a_host_that_is_run_by_a_callback_sleeps_with_nothing_held_back(loop, trace):
    transport, peer = loop.run_until_complete(connected(loop, trace))
    guest = loop.guest()
    seen = []

    def run_host():
        transport.write(b"before the dialogue")
        guest.prepare()
        seen.append(there(peer))
        transport.write(b"from the dialogue")
        guest.check()
        seen.append(there(peer))

    with guest.running():
        loop.call_soon(run_host)
        loop.call_soon(lambda: None)
        while len(seen) < 2:
            guest.dispatch()
    assert seen == [b"before the dialogue", b"from the dialogue"]
    loop.run_until_complete(over((transport, peer)))
