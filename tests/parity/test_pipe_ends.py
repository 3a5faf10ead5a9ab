"""A pipe whose other end is gone wakes nobody who does not want to know."""

import asyncio
import os
import socket

import pytest
import uring_loop

FEW = 10


async def iterations_of(loop, seconds=0.05):
    before = loop.statistics().iterations
    await asyncio.sleep(seconds)
    return loop.statistics().iterations - before


@pytest.fixture
def loop(no_leaks):
    loop = uring_loop.Loop(backend="io_uring")
    yield loop
    loop.close()


def pipe():
    read_end, write_end = os.pipe()
    return os.fdopen(read_end, "rb", 0), os.fdopen(write_end, "wb", 0)


def sockets():
    return socket.socketpair()


@pytest.mark.parametrize("ends", [pipe, sockets])
def test_paused_reading_with_an_end_behind_it_sleeps(loop, ends):
    async def main():
        ours, theirs = ends()
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, ours)
        transport.pause_reading()
        theirs.close()
        assert await iterations_of(loop) < FEW
        transport.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_writing_to_a_full_pipe_sleeps_and_its_end_is_heard_once(loop):
    async def main():
        theirs, ours = pipe()
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, ours)
        transport.write(bytes(1 << 20))
        assert await iterations_of(loop) < FEW
        theirs.close()
        assert await iterations_of(loop) < FEW
        assert transport.is_closing()

    loop.run_until_complete(main())
