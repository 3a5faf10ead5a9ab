"""What is in flight: cancelled, closed, moved, interrupted, full, growing."""

import asyncio
import contextlib
import errno
import gc
import os
import signal
import subprocess
import threading
import weakref

import pytest

import uring_loop
from uring_loop import rawfile

from .conftest import RINGS

PIPE_BYTES = 1 << 20


@contextlib.contextmanager
def pipe_files():
    """(reader, writer): descriptors of a pipe; what is still open is closed."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            with contextlib.suppress(OSError):
                os.close(fd)


async def in_flight(loop, opcode):
    """Wait until an operation of this name is in the kernel's hands."""
    while not any(opcode in repr(op) for op in loop.ring.in_flight()):
        await asyncio.sleep(0)
    # One iteration more submits it.
    await asyncio.sleep(0)


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


def test_memory_is_held_until_the_kernel_has_answered(run_ring):
    """A write that waits for room in a pipe holds the caller's memory; the task hears
    of its cancel when the memory is free again, not before."""
    async def main():
        loop = asyncio.get_running_loop()
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(write_fd, "wb", buffering=0, closefd=False)
            data = bytearray(PIPE_BYTES)
            filled = await file.write(data)
            assert 0 < filled
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
    """On the selector backend, too, the memory is the thread's until it returns."""
    from uring_loop.threads import Call

    async def main():
        started, go = threading.Event(), threading.Event()

        def work():
            started.set()
            go.wait()
            return "late"

        call = Call(work)
        task = asyncio.ensure_future(awaited(call))
        await asyncio.to_thread(started.wait)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.late == "late"

    async def awaited(call):
        return await call

    from .conftest import run_on
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

    async def main():
        task = loop.create_task(file.readinto(memory))
        await in_flight(loop, "READ")
        # Nobody will end it: the loop says so when it is collected.
        task._log_destroy_pending = False
        return weakref.ref(task)

    with pipe_files() as (read_fd, write_fd):
        file = loop.run_until_complete(opened(read_fd))
        loop.run_until_complete(main())
        assert loop.ring.in_flight_count > 1
        loop.close()
        assert loop.ring.in_flight_count == 0
        # Given back: nothing of the kernel's points at it.
        gc.collect()
        os.write(write_fd, b"late")
        assert memory == bytes(100)
        memory.append(1)
    del file


async def opened(fd):
    return await uring_loop.open(fd, "rb", buffering=0, closefd=False)


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
            await file.write(bytes(PIPE_BYTES))
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


# ---- what the world does ----------------------------------------------------------


@pytest.fixture
def tiny(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_an_error_and_the_file_is_closed(run, tiny):
    async def main():
        file = await uring_loop.open(tiny / "file", "wb", buffering=200_000)
        await file.write(bytes(100_000))
        with pytest.raises(OSError) as caught:
            await file.flush()
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError) as caught:
            await file.close()
        assert caught.value.errno == errno.ENOSPC
        assert file.closed
        async with uring_loop.open(tiny / "other", "wb") as file:
            with pytest.raises(OSError) as caught:
                await file.fallocate(0, 1 << 20)
            assert caught.value.errno == errno.ENOSPC

    run(main)
    assert (tiny / "file").stat().st_size == 65536


def test_dev_full_is_full(run):
    async def main():
        with pytest.raises(OSError) as caught:
            async with uring_loop.open("/dev/full", "w") as file:
                await file.write("x")
        assert caught.value.errno == errno.ENOSPC

    run(main)


def test_an_input_error_is_reported(run):
    """/proc/self/mem has nothing at address 0."""
    async def main():
        async with uring_loop.open("/proc/self/mem", "rb", buffering=0) as file:
            with pytest.raises(OSError) as caught:
                await file.read(10)
        assert caught.value.errno == errno.EIO

    run(main)


def test_a_write_that_is_cut_short_goes_on(run, path):
    """RLIMIT_FSIZE lets through what fits, then says EFBIG."""
    import resource

    async def main():
        file = await uring_loop.open(path, "wb", buffering=0)
        assert await file.write(bytes(10_000)) == 5_000
        with pytest.raises(OSError) as caught:
            await file.write(b"x")
        assert caught.value.errno == errno.EFBIG
        await file.close()
        with pytest.raises(OSError) as caught:
            await uring_loop.write_bytes(path, bytes(100_000))
        assert caught.value.errno == errno.EFBIG

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        run(main)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_short_reads_are_read_on(run):
    """A pipe gives what there is; read(n) waits for n, as the builtin's does."""
    async def main():
        with pipe_files() as (read_fd, write_fd):
            file = await uring_loop.open(read_fd, "rb", closefd=False)
            task = asyncio.create_task(file.read(6))
            for part in (b"ab", b"cd", b"ef"):
                await asyncio.to_thread(os.write, write_fd, part)
            assert await task == b"abcdef"
            os.write(write_fd, b"one\ntwo")
            os.close(write_fd)
            assert [line async for line in file] == [b"one\n", b"two"]
            for call in (file.tell, lambda: file.seek(0)):
                with pytest.raises(OSError):
                    await call()
            await file.close()

    run(main)


def test_pipes_carry_text_both_ways(run):
    async def main():
        with pipe_files() as (read_fd, write_fd):
            async with (uring_loop.open(os.dup(read_fd), encoding="utf-8") as reader,
                        uring_loop.open(os.dup(write_fd), "w", encoding="utf-8") as out):
                await out.write("h\u00e9llo\n")
                await out.flush()
                assert await reader.readline() == "h\u00e9llo\n"

    run(main)


def test_a_file_that_grows_while_it_is_read(run, path):
    path.write_bytes(b"first")

    async def main():
        async with uring_loop.open(path, "rb") as file:
            assert await file.read() == b"first"
            with path.open("ab") as other:
                other.write(b" second")
            assert await file.read() == b" second"
            assert await file.read() == b""

    run(main)


def test_files_of_unknown_size(run):
    async def main():
        text = await uring_loop.read_text("/proc/self/status")
        assert f"Pid:\t{os.getpid()}\n" in text
        data = await uring_loop.read_bytes("/proc/self/maps")
        assert data.endswith(b"\n") and len(data) > 4096
        async with uring_loop.open("/proc/self/status") as file:
            assert [line async for line in file][0].startswith("Name:")
        async with uring_loop.open("/dev/zero", "rb") as file:
            assert await file.read(100_000) == bytes(100_000)

    run(main)


def test_a_file_of_more_than_4_gib(run, path):
    far = (1 << 32) + 12345

    async def main():
        async with uring_loop.open(path, "w+b") as file:
            assert await file.seek(far) == far
            await file.write(b"far away")
            assert await file.tell() == far + 8
            await file.seek(far)
            assert await file.read() == b"far away"
            assert await file.pread(3, far + 3) == b" aw"
            assert await file.seek(-4, os.SEEK_END) == far + 4
            assert await file.seek(0, os.SEEK_DATA) > 1 << 32
            assert (await file.stat()).st_size == far + 8
            assert await file.truncate(far + 3) == far + 3
        async with uring_loop.open(path, "r+") as file:
            position = await file.seek(0, 2)
            assert position == far + 3 == await file.tell()
            await file.seek(far)
            assert await file.read() == "far"

    run(main)


def test_tasks_that_use_one_file_take_turns(run, path):
    async def main():
        async with uring_loop.open(path, "w+b", buffering=64) as file:
            async def writer(letter):
                for _ in range(50):
                    await file.write(letter * 100)

            await asyncio.gather(*(writer(letter) for letter in (b"a", b"b", b"c")))
            await file.seek(0)
            data = await file.read()
        assert {data[i:i + 100] for i in range(0, len(data), 100)} == {
            b"a" * 100, b"b" * 100, b"c" * 100}
        assert len(data) == 15_000

    run(main)


def test_no_thread_appears_on_the_ring(run_ring, path):
    async def main():
        async with uring_loop.open(path, "w+b") as file:
            await file.write(b"x" * 1_000_000)
            await asyncio.gather(*(file.pread(4096, i * 4096) for i in range(64)))
            await file.truncate(10)
            await file.seek(0, 2)
            await file.fsync()
        await uring_loop.read_text(path)
        await uring_loop.copyfile(path, path.with_name("copy"))
        await uring_loop.fs.makedirs(path.with_name("a") / "b")
        await uring_loop.fs.rename(path, path.with_name("c"))
        return threading.active_count()

    assert run_ring(main) == threading.active_count()


def test_what_the_kernel_lacks_is_called_in_a_thread(run_ring, path, monkeypatch):
    asked = []

    def ring_with(*opcodes):
        asked.extend(opcodes)
        return None

    monkeypatch.setattr(rawfile, "ring_with", ring_with)
    monkeypatch.setattr(uring_loop.fs, "ring_with", ring_with)

    async def main():
        await uring_loop.write_text(path, "text")
        assert await uring_loop.read_text(path) == "text"
        await uring_loop.fs.rename(path, path.with_name("other"))
        await uring_loop.fs.mkdir(path)
        await uring_loop.fs.rmdir(path)
        assert await uring_loop.fs.getsize(path.with_name("other")) == 4

    run_ring(main)
    assert {"OPENAT", "READ", "WRITE", "RENAMEAT", "MKDIRAT", "UNLINKAT", "STATX"} <= set(
        asked)


# The kernel's workers of the ring count as threads of the process.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_errors_in_a_forked_child_name_the_cause(run_ring, path):
    """The ring is the parent's."""
    async def main():
        async with uring_loop.open(path, "wb", buffering=0) as file:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    file._raw.write(b"x", 0)
                except RuntimeError as exc:
                    code = 0 if "fork" in str(exc) else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    run_ring(main)
