"""Disks that are full, files that grow, pipes, processes: what files meet."""

import asyncio
import errno
import os
import signal
import subprocess
import threading

import pytest

import uring_loop
from uring_loop.files import operations, rawfile

from .conftest import pipe_files


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
            ends = os.dup(read_fd), os.dup(write_fd)
            async with (uring_loop.open(ends[0], encoding="utf-8") as reader,
                        uring_loop.open(ends[1], "w", encoding="utf-8") as writer):
                await writer.write("h\u00e9llo\n")
                await writer.flush()
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
        loop = asyncio.get_running_loop()
        async with uring_loop.open(path, "w+b") as file:
            await file.write(b"x" * 1_000_000)
            await asyncio.gather(*(file.pread(4096, i * 4096) for i in range(64)))
            if loop.ring.has_opcode(operations.OPCODES["FTRUNCATE"]):
                # Before Linux 6.9 by a thread.
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
    assert set(asked) >= {
        "OPENAT", "READ", "WRITE", "RENAMEAT", "MKDIRAT", "UNLINKAT", "STATX"}


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


def test_who_reads_what_is_cached_lets_others_run(run_ring, path):
    """It is taken at once, without waiting, but not for ever."""
    path.write_bytes(bytes(1 << 20))
    reads = 2000

    async def main():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async with uring_loop.open(path, "rb") as file:
            for _ in range(reads):
                await file.pread(4096, 0)
            positioned = turns
            for _ in range(reads):
                await file.seek(0)
                await file.readinto(bytearray(100_000))
        task.cancel()
        return positioned, turns - positioned

    positioned, buffered = run_ring(main)
    # A MiB between turns, or what the disk has to do with it.
    assert positioned > reads * 4096 // (1 << 20) // 2
    assert buffered > reads // 4


def test_signals_disturb_nothing(run, path):
    """A timer interrupts system calls all the time; nobody sees EINTR."""
    data = os.urandom(1 << 20)
    heard = []

    async def main():
        await uring_loop.write_bytes(path, data)
        with pipe_files() as (read_fd, write_fd):
            async with (uring_loop.open(path, "rb", flags=os.O_DIRECT) as file,
                        uring_loop.open(read_fd, "rb", 0, closefd=False) as pipe):
                while len(heard) < 20:
                    parts = [file.pread(65536, i << 16) for i in range(16)]
                    waiting = asyncio.create_task(pipe.read(1))
                    assert b"".join(await asyncio.gather(*parts)) == data
                    os.write(write_fd, b"x")
                    assert await waiting == b"x"

    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        run(main)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
