"""uring_loop.open: arguments, errors, attributes, and whole files in one call."""

import builtins
import io
import os
import shutil

import pytest

import uring_loop

from .differences import builtin, compare, ours, outcome_of

BAD_ARGUMENTS = [
    {"mode": ""}, {"mode": "rw"}, {"mode": "rr"}, {"mode": "rbt"}, {"mode": "q"},
    {"mode": "b"}, {"mode": 5}, {"mode": "rb", "encoding": "utf-8"},
    {"mode": "rb", "errors": "strict"}, {"mode": "rb", "newline": "\n"},
    {"mode": "r", "newline": "x"}, {"mode": "r", "buffering": 0},
    {"mode": "r", "encoding": "no such"},
    {"mode": "r", "encoding": "hex"}, {"mode": "rb", "closefd": False},
    {"mode": "r", "errors": 5}, {"mode": "r", "buffering": "x"},
]


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_refused_as_the_builtin_does(run, path, arguments):
    path.write_bytes(b"content")

    async def main():
        with pytest.raises(Exception) as caught:
            await uring_loop.open(path, **arguments)
        return caught.value

    with pytest.raises(Exception) as expected:
        builtins.open(path, **arguments).close()
    actual = run(main)
    assert outcome_of(actual)[:3] == outcome_of(expected.value)[:3]
    # Whose argument has the wrong type says each its own way.
    assert isinstance(actual, TypeError) or str(actual) == str(expected.value)


@pytest.mark.parametrize("name, mode", [
    ("missing", "r"), ("missing/x", "w"), ("directory", "rb"), ("directory", "w"),
    ("there", "x"), ("there/x", "r"), ("long" * 100, "w")])
def test_errors_carry_errno_and_filename(run, tmp_path, name, mode):
    (tmp_path / "directory").mkdir()
    (tmp_path / "there").touch()

    async def main():
        with pytest.raises(OSError) as caught:
            await uring_loop.open(tmp_path / name, mode)
        return caught.value

    with pytest.raises(OSError) as expected:
        builtins.open(tmp_path / name, mode)
    actual = run(main)
    assert type(actual) is type(expected.value)
    assert str(actual) == str(expected.value)
    assert actual.filename == expected.value.filename == str(tmp_path / name)


def test_a_null_byte_in_the_name_is_a_value_error(run):
    async def main():
        with pytest.raises(ValueError, match="null"):
            await uring_loop.open("a\0b")

    run(main)


def test_attributes(run, path):
    async def main():
        async with uring_loop.open(path, "w+", encoding="utf-8", errors="replace") as f:
            assert (f.name, f.mode, f.encoding, f.errors) == (
                str(path), "w+", "utf-8", "replace")
            assert await f.readable() and await f.writable() and await f.seekable()
            assert not await f.isatty() and not f.closed and not f.line_buffering
            assert not os.get_inheritable(f.fileno())
        assert f.closed
        for call in (f.read, f.readline, f.flush, f.tell, f.readable):
            with pytest.raises(ValueError, match="closed file"):
                await call()
        with pytest.raises(ValueError, match="closed file"):
            f.fileno()
        await f.close()

    run(main)


def test_descriptors_and_openers(run, path):
    path.write_bytes(b"0123456789")

    async def main():
        with builtins.open(path, "rb", buffering=0) as plain:
            plain.seek(3)
            file = await uring_loop.open(plain.fileno(), "rb", closefd=False)
            assert await file.read(4) == b"3456"
            await file.close()
            assert plain.read(0) == b""
        opened = []

        def opener(name, flags):
            opened.append(name)
            return os.open(name, flags)

        async with uring_loop.open(path, "rb", opener=opener) as file:
            assert await file.read() == b"0123456789"
        assert opened == [str(path)]
        with pytest.raises(ValueError, match="opener returned -1"):
            await uring_loop.open(path, opener=lambda name, flags: -1)

    run(main)


def test_a_written_descriptor_is_left_where_the_builtin_leaves_it(run, path):
    async def main():
        with builtins.open(path, "wb", buffering=0) as plain:
            async with uring_loop.open(plain.fileno(), "wb", closefd=False) as file:
                await file.write(b"one ")
            plain.write(b"two")

    run(main)
    assert path.read_bytes() == b"one two"


def test_line_buffering_shows_lines_at_once(run, path):
    async def main():
        async with uring_loop.open(path, "w", buffering=1) as file:
            await file.write("a line\nand")
            seen = path.read_bytes()
            await file.write("more")
            return seen, path.read_bytes()

    assert run(main) == (b"a line\nand", b"a line\nand")


def test_binary_line_buffering_warns(run, path):
    async def main():
        with pytest.warns(RuntimeWarning, match="line buffering"):
            await (await uring_loop.open(path, "wb", buffering=1)).close()

    run(main)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_a_byte_order_mark_stands_at_the_start_only(run, tmp_path, encoding):
    for mode in ("w", "a"):
        operations = [("write", "a"), ("seek", 0, 2), ("write", "b"), ("seek", 0),
                      ("write", "c")]
        arguments = {"mode": mode, "encoding": encoding}
        run(lambda: compare(tmp_path, "x".encode(encoding), arguments, operations))


@pytest.mark.parametrize("hint", [None, -1, 0, 1, 7, 8, 100])
@pytest.mark.parametrize("mode", ["r", "rb"])
def test_lines(run, path, mode, hint):
    path.write_bytes(b"one\r\ntwo\rthree\n\nfour")
    for operations in ([("readlines", hint)], [("iterate",)]):
        arguments = {"mode": mode}
        assert run(lambda: ours(path, arguments, operations)) == builtin(
            path, arguments, operations)


def test_newlines_are_reported(run, path):
    path.write_bytes(b"one\r\ntwo\rthree\n")

    async def main():
        async with uring_loop.open(path) as file:
            await file.read()
            return file.newlines

    with builtins.open(path) as file:
        file.read()
        assert run(main) == file.newlines


def test_what_is_left_open_is_flushed_and_warned_of(run, path):
    async def main():
        file = await uring_loop.open(path, "wb")
        await file.write(b"data")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file

    run(main)
    assert path.read_bytes() == b"data"


def test_whole_files(run, path):
    data = bytes(range(256)) * 1000

    async def main():
        assert await uring_loop.write_bytes(path, data) == len(data)
        assert await uring_loop.read_bytes(path) == data
        assert await uring_loop.write_bytes(path, memoryview(b"short")) == 5
        assert await uring_loop.read_bytes(path) == b"short"
        assert await uring_loop.write_text(path, "\u00e9\n", "latin-1") == 2
        assert await uring_loop.read_text(path, "latin-1") == "\u00e9\n"
        assert await uring_loop.read_bytes(path) == b"\xe9\n"
        with pytest.raises(TypeError):
            await uring_loop.write_text(path, b"bytes")
        with pytest.raises(TypeError):
            await uring_loop.write_bytes(path, "text")

    run(main)


def test_copyfile_reports_its_progress(run, path, tmp_path):
    data = os.urandom(2_500_000)
    path.write_bytes(data)
    target = tmp_path / "copy"
    target.write_bytes(b"x" * 5_000_000)
    seen = []

    async def main():
        return await uring_loop.copyfile(
            path, target, progress=lambda done, size: seen.append((done, size)))

    assert run(main) == target
    assert target.read_bytes() == data
    assert [size for _, size in seen] == [len(data)] * len(seen)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == len(data) and len(seen) > 2


def test_copying_a_file_onto_itself_keeps_it(run, path, tmp_path):
    path.write_bytes(b"precious")
    os.link(path, tmp_path / "other name")

    async def main():
        for target in (path, tmp_path / "other name"):
            with pytest.raises(shutil.SameFileError):
                await uring_loop.copyfile(path, target)

    run(main)
    assert path.read_bytes() == b"precious"


def test_direct_input_and_output(run, path):
    data = os.urandom(3 * 4096) + b"tail"
    path.write_bytes(data)

    async def main():
        with pytest.raises(ValueError, match="unbuffered text"):
            uring_loop.open(path, "r", flags=os.O_DIRECT)
        async with uring_loop.open(path, "r+b", flags=os.O_DIRECT) as file:
            assert await file.read() == data
            assert await file.pread(4096, 4096) == data[4096:8192]
            buffer = uring_loop.aligned_buffer(8192)
            assert await file.preadinto(buffer, 4096) == 8192
            assert buffer == data[4096:12288]
            # Neither of these begins where the device wants it.
            assert await file.pwrite(b"n" * 4096, 0) == 4096
            assert await file.pwrite(memoryview(b"?" + b"m" * 4096)[1:], 4096) == 4096
            with pytest.raises(OSError, match="Invalid argument"):
                await file.pread(100, 1)

    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError as exc:
        pytest.skip(f"no O_DIRECT in {path.parent}: {exc}")
    run(main)
    assert path.read_bytes() == b"n" * 4096 + b"m" * 4096 + data[8192:]


def test_an_aligned_buffer_begins_with_a_page():
    import ctypes

    buffer = uring_loop.aligned_buffer(5000)
    assert len(buffer) == 5000 and not buffer.readonly and bytes(buffer) == bytes(5000)
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % 4096 == 0


def test_positioned_calls_pass_by_the_position(run, path):
    path.write_bytes(b"0123456789")

    async def main():
        async with uring_loop.open(path, "r+b") as file:
            assert await file.read(2) == b"01"
            assert await file.pwrite(b"AB", 2) == 2
            assert await file.pread(4, 0) == b"01AB"
            memory = bytearray(3)
            assert await file.preadinto(memory, 8) == 2 and memory == b"89\0"
            # Neither stale nor moved.
            assert await file.read(2) == b"AB"
            await file.write(b"!")
            assert await file.pread(10, 0) == b"01AB!56789"
            for call in (lambda: file.pread(1, -1), lambda: file.pread(-1, 0),
                         lambda: file.pwrite(b"x", -1),
                         lambda: file.preadinto(memory, -1)):
                with pytest.raises(OSError, match="Invalid argument"):
                    await call()
            await file.fsync()
            await file.fdatasync()
            assert (await file.stat()).st_size == 10

    run(main)


def test_fallocate(run, path):
    async def main():
        async with uring_loop.open(path, "wb") as file:
            await file.fallocate(0, 8192)
            assert (await file.stat()).st_size == 8192
            await file.fallocate(8192, 4096, 1)     # FALLOC_FL_KEEP_SIZE
            found = await file.stat()
            assert found.st_size == 8192 and found.st_blocks * 512 >= 12288
            with pytest.raises(OSError, match="Invalid argument"):
                await file.fallocate(0, 0)

    run(main)


def test_what_only_reads_does_not_write(run, path):
    path.write_bytes(b"x")

    async def main():
        async with uring_loop.open(path, "rb") as file:
            for call in (lambda: file.write(b""), file.truncate):
                with pytest.raises(io.UnsupportedOperation):
                    await call()
        async with uring_loop.open(path, "wb") as file:
            for call in (file.read, file.readline, file.peek, file.read1,
                         lambda: file.readinto(bytearray(1))):
                with pytest.raises(io.UnsupportedOperation):
                    await call()

    run(main)
