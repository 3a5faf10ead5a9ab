"""What is in flight: cancelled, closed, moved to another thread."""

import asyncio
import errno
import gc
import os
import select
import threading

import pytest

import uring_loop
from uring_loop.files.executor import Call

from .conftest import RINGS, in_flight, pipe_files, run_on

PIPE_BYTES = 1 << 20


async def cancelled(task):
    task.cancel("told so")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


# ---- cancelling -------------------------------------------------------------------


def test_a_cancelled_read_of_a_pipe_ends_and_takes_nothing(run_ring):
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(read_fd, "rb", closefd=False)
            task = asyncio.create_task(file.read(5))
            await in_flight(loop, "READ")
            await cancelled(task)
            os.write(write_fd, b"hello")
            assert await file.read(5) == b"hello"
            await file.close()

    run_ring(main)


def test_what_arrives_with_the_cancel_is_kept_for_the_next_read(run_ring):
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(read_fd, "rb", buffering=0, closefd=False)
            task = asyncio.create_task(file.read(5))
            await in_flight(loop, "READ")
            os.write(write_fd, b"hello")
            await cancelled(task)
            assert await file.read(5) == b"hello"
            memory = bytearray(5)
            task = asyncio.create_task(file.readinto(memory))
            await in_flight(loop, "READ")
            os.write(write_fd, b"world")
            await cancelled(task)
            assert await file.readinto(memory) == 5 and memory == b"world"
            await file.close()

    run_ring(main)


def fill(pipe):
    """Leave no room. Not by a write of the loop's: of more than a pipe holds, some
    kernels write a part and others wait until all is written."""
    os.set_blocking(pipe, False)
    os.write(pipe, bytes(PIPE_BYTES))
    os.set_blocking(pipe, True)


def test_memory_is_held_until_the_kernel_has_answered(run_ring):
    """A write that waits for room in a pipe holds the caller's memory; the task hears
    of its cancel when the memory is free again, not before."""
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(write_fd, "wb", buffering=0, closefd=False)
            data = bytearray(PIPE_BYTES)
            fill(write_fd)
            task = asyncio.create_task(file.write(data))
            await in_flight(loop, "WRITE")
            with pytest.raises(BufferError):
                data.append(0)
            task.cancel()
            with pytest.raises(BufferError):
                data.append(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            # The exception's traceback goes, and with it what the frames held.
            del task
            await asyncio.sleep(0)
            data.append(0)
            await file.close()

    run_ring(main)


def test_a_task_may_be_cancelled_many_times(run_ring):
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, _):
            file = await uring_loop.open(read_fd, "rb", closefd=False)
            task = asyncio.create_task(file.read())
            await in_flight(loop, "READ")
            for _ in range(3):
                task.cancel()
            await cancelled(task)
            await file.close()

    run_ring(main)


def test_timeouts_work_on_pipes(run_ring):
    async def main():
        with pipe_files() as (read_fd, _):
            file = await uring_loop.open(read_fd, "rb", closefd=False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await file.read()
            await file.close()

    run_ring(main)


def test_a_cancelled_flush_writes_nothing_twice(run_ring):
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(write_fd, "wb", 2 * PIPE_BYTES, closefd=False)
            sent = os.urandom(PIPE_BYTES)
            await file.write(sent)
            task = asyncio.create_task(file.flush())
            await in_flight(loop, "WRITE")
            # Linux 6.1 finds a write that a worker has begun, not one on its way to it.
            while not select.select([read_fd], [], [], 0)[0]:
                await asyncio.sleep(0)
            await cancelled(task)
            task = asyncio.create_task(file.flush())
            got = await asyncio.to_thread(read_exactly, read_fd, len(sent))
            await task
            assert got == sent
            await file.close()

    run_ring(main)


def read_exactly(fd, size):
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def test_a_cancelled_open_leaves_no_descriptor(run_ring, path):
    """The open of a FIFO waits for the other end."""
    os.mkfifo(path)

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(uring_loop.read_bytes(path))
        await in_flight(loop, "OPENAT")
        await cancelled(task)

    run_ring(main)


def test_a_cancelled_call_in_a_thread_waits_for_its_end(kind):
    """On epoll, too, the memory is the thread's until it returns."""
    async def main():
        started, go = threading.Event(), threading.Event()

        def work():
            started.set()
            go.wait()
            return "late"

        call = Call(work)
        task = asyncio.ensure_future(awaited(call))
        await asyncio.sleep(0)
        # Since 3.14 this lets the task run only if the thread is slow.
        await asyncio.to_thread(started.wait)
        try:
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        finally:
            go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.late == "late"

    async def awaited(call):
        return await call

    run_on(kind, main)


# ---- closing ----------------------------------------------------------------------


def test_closing_ends_a_read_that_waits(run_ring):
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, _):
            file = await uring_loop.open(os.dup(read_fd), "rb")
            task = asyncio.create_task(file.read())
            await in_flight(loop, "READ")
            await file.close()
            with pytest.raises(OSError) as caught:
                await task
            assert caught.value.errno == errno.ECANCELED

    run_ring(main)


def test_closing_waits_for_what_is_in_flight(run, path):
    path.write_bytes(bytes(1 << 20))

    async def main():
        file = await uring_loop.open(path, "r+b")
        tasks = [asyncio.create_task(file.pread(65536, i * 65536)) for i in range(16)]
        tasks += [asyncio.create_task(file.pwrite(b"w" * 65536, i * 65536))
                  for i in range(16)]
        await asyncio.sleep(0)
        await file.close()
        assert [len(done) if isinstance(done, bytes) else done
                for done in await asyncio.gather(*tasks)] == [65536] * 32
        with pytest.raises(ValueError, match="closed file"):
            await file.pread(1, 0)

    run(main)
    assert path.read_bytes() == b"w" * (1 << 20)


def test_who_waits_for_a_turn_hears_that_the_file_was_closed(run, path):
    async def main():
        file = await uring_loop.open(path, "wb", buffering=0)
        tasks = [asyncio.create_task(file.write(b"x")) for _ in range(3)]
        await asyncio.sleep(0)
        await file.close()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[0] == 1 and isinstance(done[2], ValueError)

    run(main)


@pytest.mark.parametrize("ring", RINGS)
def test_a_loop_closed_with_a_read_in_flight_waits_for_the_kernel(no_leaks, ring):
    loop = uring_loop.new_event_loop(**RINGS[ring])
    memory = bytearray(100)

    async def main(fd):
        file = await uring_loop.open(fd, "rb", buffering=0, closefd=False)
        task = loop.create_task(file.readinto(memory))
        await in_flight(loop, "READ")
        # Nobody will end it: the loop says so when it is collected.
        task._log_destroy_pending = False

    with pipe_files() as (read_fd, write_fd):
        loop.run_until_complete(main(read_fd))
        assert loop.ring.in_flight_count > 1
        loop.close()
        assert loop.ring.in_flight_count == 0
        # Given back: nothing of the kernel's points at it.
        gc.collect()
        os.write(write_fd, b"late")
        assert memory == bytes(100)
        memory.append(1)


# ---- another thread -----------------------------------------------------------------


def in_thread(function):
    """The function's result, from a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("ring", RINGS)
def test_a_write_in_flight_does_not_move_to_another_thread(no_leaks, ring):
    """It may have been carried out or not: the error says so and names it."""
    loop = uring_loop.new_event_loop(**RINGS[ring])
    with pipe_files() as (read_fd, write_fd):
        async def begin():
            file = await uring_loop.open(write_fd, "wb", buffering=0, closefd=False)
            fill(write_fd)
            task = loop.create_task(file.write(b"x"))
            await in_flight(loop, "WRITE")
            return task

        task = in_thread(lambda: loop.run_until_complete(begin()))
        with pytest.raises(RuntimeError, match=r"moved to another thread.*WRITE fd="):
            loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.mark.parametrize("ring", RINGS)
def test_reads_at_offsets_are_prepared_again(no_leaks, ring, path):
    """Also while the first thread is gone, which never hears of them."""
    data = os.urandom(1 << 22)
    path.write_bytes(data)
    loop = uring_loop.new_event_loop(**RINGS[ring])

    async def begin(file_of):
        file = await uring_loop.open(path, "rb", flags=os.O_DIRECT)
        file_of.append(file)
        tasks = [loop.create_task(file.pread(1 << 18, i << 18)) for i in range(16)]
        tasks.append(loop.create_task(file.stat()))
        # All of them prepared, and submitted when the loop stops.
        await asyncio.sleep(0)
        return tasks

    async def end(tasks, file):
        *parts, found = await asyncio.gather(*tasks)
        await file.close()
        return b"".join(parts), found.st_size

    file_of = []
    tasks = in_thread(lambda: loop.run_until_complete(begin(file_of)))
    result = loop.run_until_complete(end(tasks, *file_of))
    loop.close()
    assert result == (data, len(data))
