"""Errors have asyncio's class, whichever part of the loop learns of them first."""

import array
import asyncio
import contextlib
import errno
import sys

import pytest
from uring_loop import _compat

from . import kit
from .kit import MUCH, Recorder, every_pair, reset, wired

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
RESET = [REQUEST, ConnectionResetError]


class Answering(Recorder):
    """Answers a request within data_received, in `pieces` writes."""

    pieces = 1

    def data_received(self, data):
        super().data_received(data)
        for _ in range(self.pieces):
            self.transport.write(b"an answer")


class AnsweringInPieces(Answering):
    pieces = 3


class AnsweringByLines(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.writelines([b"an ", b"answer"])


KINDS = {kind.__name__: kind
         for kind in (Recorder, Answering, AnsweringInPieces, AnsweringByLines)}


async def over(protocol):
    error = await protocol.lost()
    return [protocol.data, error]


# A request and a reset that are both there when the loop looks.


@pytest.mark.parametrize("kind", KINDS)
def test_request_and_reset_at_once(run, loop, kind):
    async def main():
        _, protocol, far = await wired(loop, "tcp", KINDS[kind])
        far.sendall(REQUEST)
        reset(far)
        return await over(protocol)

    assert run(main()) == RESET


@pytest.mark.parametrize("kind", KINDS)
def test_reset_between_the_request_and_the_answer(run, loop, kind):
    class Resets(KINDS[kind]):
        def data_received(self, data):
            reset(self.far)
            super().data_received(data)

    async def main():
        _, protocol, far = await wired(loop, "tcp", Resets)
        protocol.far = far
        far.sendall(REQUEST)
        return await over(protocol)

    assert run(main()) == RESET


@pytest.mark.parametrize("kind", KINDS)
def test_request_and_reset_with_a_backlog(run, loop, kind):
    async def main():
        transport, protocol, far = await wired(loop, "tcp", KINDS[kind])
        transport.write(bytes(MUCH))
        await kit.turns()
        far.sendall(REQUEST)
        reset(far)
        return await over(protocol)

    assert run(main()) == RESET


def test_request_and_reset_behind_a_pause(run, loop):
    async def main():
        transport, protocol, far = await wired(loop, "tcp")
        transport.pause_reading()
        await kit.turns()
        far.sendall(REQUEST)
        reset(far)
        await kit.turns()
        transport.resume_reading()
        return await over(protocol)

    assert run(main()) == RESET


@pytest.mark.parametrize("write", ["write", "writelines", "write_eof"])
def test_write_after_a_reset_that_nobody_has_heard_of(run, loop, write):
    """The write meets the error first; after it the socket would say EPIPE."""

    async def main():
        transport, protocol, far = await wired(loop, "tcp")

        def reset_and_write():
            reset(far)
            if write == "writelines":
                transport.writelines([b"one", b"two"])
            else:
                transport.write(b"one")
            transport.write(b"three")
            if write == "write_eof":
                transport.write_eof()

        loop.call_soon(reset_and_write)
        return await protocol.lost()

    assert run(main()) is ConnectionResetError


def test_write_while_paused_after_a_reset(run, loop):
    async def main():
        transport, protocol, far = await wired(loop, "tcp")
        transport.pause_reading()
        await kit.turns()
        reset(far)
        await kit.turns()
        transport.write(b"one")
        transport.write(b"two")
        return await protocol.lost()

    assert run(main()) is ConnectionResetError


def test_a_backlog_and_a_peer_that_closes_without_reading(run, loop):
    """The peer's kernel answers unread bytes with a reset instead of an end."""

    async def main():
        transport, protocol, far = await wired(loop, "tcp")
        transport.write(bytes(MUCH))
        await kit.turns()
        far.close()
        return await protocol.lost()

    assert run(main()) is ConnectionResetError


def test_streams_tell_a_reader_of_the_reset(run, loop):
    async def main():
        near, far = kit.tcp_pair()
        near.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=near)
        far.sendall(REQUEST)
        reset(far)
        got = await reader.readexactly(len(REQUEST))
        with pytest.raises(ConnectionResetError):
            while True:
                writer.write(b"x")
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
        return got

    assert run(main()) == REQUEST


def test_a_unix_peer_that_has_gone_is_a_broken_pipe(run, loop):
    async def main():
        transport, protocol, far = await wired(loop, "unix")
        transport.pause_reading()
        far.close()
        transport.write(b"one")
        return await protocol.lost()

    assert run(main()) is BrokenPipeError


# ---- writelines() treats every buffer as write() does -------------------------------


BUFFERS = {
    "bytes": lambda: b"abcdef",
    "bytearray": lambda: bytearray(b"abcdef"),
    "memoryview": lambda: memoryview(b"abcdef"),
    "memoryview of bytearray": lambda: memoryview(bytearray(b"abcdef")),
    "part of a memoryview": lambda: memoryview(b"abcdef")[2:4],
    "memoryview of integers": lambda: memoryview(array.array("i", [1, 2, 3])),
    "memoryview of two dimensions": lambda: memoryview(b"abcdef").cast("B", (2, 3)),
    "every second byte": lambda: memoryview(b"abcdef")[::2],
    "backwards": lambda: memoryview(b"abcdef")[::-1],
    "empty": lambda: b"",
    "array": lambda: array.array("b", [1, 2, 3]),
    "text": lambda: "abcdef",
    "integer": lambda: 6,
    "none": lambda: None,
}


# asyncio's writelines() takes an array, which its write() refuses, and so does ours.
# That of 3.11 joins the lines, which raises TypeError for memory with gaps.
JOINED = {"array"}
if sys.version_info < (3, 12):
    JOINED |= {"every second byte", "backwards"}
# Newer releases skip what is false.
if _compat.WRITELINES_SKIPS_FALSE:
    JOINED |= {"none"}


def outcome(run, loop, family, write):
    """What `write(transport)` raised, what arrived, and how the connection ended."""

    async def main():
        transport, protocol, far = await wired(loop, family)
        raised = None
        try:
            write(transport)
        except Exception as exc:
            raised = type(exc)
        transport.close()
        arrived = await kit.blocking(kit.read_all, far)
        far.close()
        return raised, arrived, await protocol.lost()

    result = run(main())
    problems = [type(context.get("exception")) for context in loop.problems]
    loop.problems.clear()
    return *result, problems


@kit.ours_only
@every_pair
@pytest.mark.parametrize("kind", [kind for kind in BUFFERS if kind not in JOINED])
@pytest.mark.parametrize("backlog", [False, True])
def test_writelines_as_write(run, loop, kind, family, backlog):
    def first(transport):
        if backlog:
            transport.write(bytes(MUCH))

    def by_write(transport):
        first(transport)
        transport.write(BUFFERS[kind]())

    def by_writelines(transport):
        first(transport)
        transport.writelines([BUFFERS[kind]()])

    expected = outcome(run, loop, family, by_write)
    assert outcome(run, loop, family, by_writelines) == expected


@every_pair
@pytest.mark.parametrize("kind", [
    "bytes", "bytearray", "memoryview", "memoryview of bytearray",
    "part of a memoryview", "empty", "array"])
def test_writelines_of_a_plain_buffer_sends_its_bytes(run, loop, kind, family):
    buffer = BUFFERS[kind]()
    lines = [b"before ", buffer, b" after"]
    raised, arrived, lost, problems = outcome(
        run, loop, family, lambda transport: transport.writelines(lines))
    assert (raised, lost, problems) == (None, type(None), [])
    assert arrived == b"before " + bytes(buffer) + b" after"


@kit.ours_only
@every_pair
@pytest.mark.parametrize("method", ["write", "writelines"])
@pytest.mark.parametrize("backlog", [False, True])
def test_what_is_written_may_be_changed_at_once(run, loop, family, method, backlog):
    async def main():
        transport, protocol, far = await wired(loop, family)
        if backlog:
            transport.write(bytes(MUCH))
        memory = bytearray(b"unchanged" * 100_000)
        for buffer in (memory, memoryview(memory)):
            if method == "write":
                transport.write(buffer)
            else:
                transport.writelines([buffer, b"", buffer])
        memory[:] = b"X" * len(memory)
        transport.close()
        arrived = await kit.blocking(kit.read_all, far)
        far.close()
        await protocol.lost()
        return arrived[MUCH:] if backlog else arrived

    copies = 2 if method == "write" else 4
    assert run(main()) == b"unchanged" * 100_000 * copies


def test_connect_to_nobody_is_refused(run, loop):
    """The class of connect()'s own errors, on every way to connect."""

    async def main():
        with contextlib.closing(kit.socket.socket()) as silent:
            silent.bind(("127.0.0.1", 0))
            address = silent.getsockname()
            with pytest.raises(ConnectionRefusedError) as one:
                await loop.create_connection(Recorder, *address)
            with kit.socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(ConnectionRefusedError) as two:
                    await loop.sock_connect(sock, address)
        return one.value.errno, two.value.errno

    assert run(main()) == (errno.ECONNREFUSED,) * 2
