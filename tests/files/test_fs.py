"""uring_loop.fs does what os does, and Path what pathlib does."""

import asyncio
import inspect
import os
import pathlib
import stat
import sys

import pytest

import uring_loop
from uring_loop import fs

from .differences import outcome_of

# Names in a folder with: file, link -> file, dangling -> nothing, full/inner, empty.
STEPS = [
    ("stat", "file"), ("stat", "link"), ("stat", "dangling"), ("stat", "missing"),
    ("stat", "file/below"), ("lstat", "link"), ("lstat", "missing"), ("mkdir", "new"),
    ("mkdir", "private", 0o700), ("mkdir", "file"), ("mkdir", "missing/x"),
    ("rmdir", "empty"), ("rmdir", "full"), ("rmdir", "file"), ("unlink", "file"),
    ("unlink", "empty"), ("unlink", "missing"), ("remove", "link"),
    ("rename", "file", "other"), ("rename", "missing", "x"),
    ("rename", "empty", "file"),
    ("rename", "empty", "full"), ("replace", "file", "link"), ("link", "file", "hard"),
    ("link", "link", "hard"), ("link", "missing", "x"), ("link", "file", "link"),
    ("symlink", "target", "sym"), ("symlink", "target", "file"),
    ("makedirs", "a/b/c"), ("makedirs", "full/inner"),
    ("makedirs", "empty", 0o777, True),
    ("makedirs", "file", 0o777, True), ("makedirs", "a/./b"), ("removedirs", "empty"),
    ("removedirs", "full"), ("renames", "file", "p/q/r"), ("renames", "missing", "p/x"),
    ("listdir", "full"), ("readlink", "link"), ("readlink", "file"),
    ("access", "file", 4),
    ("truncate", "file", 2), ("chmod", "file", 0o600), ("statvfs", "missing"),
    ("stat", "long" * 100), ("stat", "nul\0l"), ("stat", b"file"), ("mkdir", 5.5),
]
PATH_STEPS = ("exists", "lexists", "isfile", "isdir", "islink", "ismount", "getsize",
              "getmtime", "getatime", "getctime", "realpath")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    def make(name):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        pathlib.Path("file").write_text("content")
        os.symlink("file", "link")
        os.symlink("nothing", "dangling")
        os.mkdir("empty")
        os.mkdir("full")
        pathlib.Path("full/inner").touch()
        return place

    return make


def tree(place):
    """Names, kinds, modes and link counts of all that is below."""
    return {
        str(path.relative_to(place)): (oct(path.lstat().st_mode), path.lstat().st_nlink,
                                       path.is_symlink() and os.readlink(path))
        for path in place.rglob("*")
    }


def attempt(function, *args):
    try:
        return comparable(function(*args))
    except Exception as exc:
        return *outcome_of(exc), getattr(exc, "filename2", None)


async def attempt_ours(function, *args):
    try:
        return comparable(await function(*args))
    except Exception as exc:
        return *outcome_of(exc), getattr(exc, "filename2", None)


def comparable(value):
    if isinstance(value, os.stat_result):
        # Another inode at another time.
        return value.st_mode, value.st_nlink, value.st_size, value.st_uid, value.st_gid
    return value


@pytest.mark.parametrize("name", sorted({name for name, *_ in STEPS}))
def test_as_os(run, folder, name):
    async def main():
        for number, (step, *args) in enumerate(STEPS):
            if step == name:
                expected_place = folder(f"expected {number}")
                expected = attempt(getattr(os, name), *args)
                place = folder(f"ours {number}")
                actual = await attempt_ours(getattr(fs, name), *args)
                assert actual == expected, args
                assert tree(place) == tree(expected_place), args

    run(main)


def test_as_os_path(run, folder):
    folder("place")
    paths = ("file", "link", "dangling", "empty", "missing", "file/x", "/", "n\0l")

    async def main():
        for name in PATH_STEPS:
            for path in paths:
                expected = attempt(getattr(os.path, name), path)
                actual = await attempt_ours(getattr(fs, name), path)
                assert actual == expected, (name, path)

    run(main)


def test_every_field_of_stat(run, folder):
    folder("place")
    os.utime("file", ns=(1_234_567_890_123_456_789, -1_500_000_000))
    for path in ("file", "link", "empty", "/dev/null", "/proc/self/status", "/"):
        for follow_symlinks in (True, False):
            async def main():
                return await fs.stat(path, follow_symlinks=follow_symlinks)

            expected = os.stat(path, follow_symlinks=follow_symlinks)
            actual = run(main)
            fields = [name for name in dir(expected) if name.startswith("st_")]
            assert len(fields) > 15
            for field in fields:
                assert getattr(actual, field) == getattr(expected, field), (path, field)
            assert actual == expected and repr(actual) == repr(expected)


def test_descriptors(run, folder):
    place = folder("place")

    async def main():
        fd = os.open(place / "full", os.O_RDONLY)
        try:
            assert (await fs.stat("inner", dir_fd=fd)).st_size == 0
            await fs.mkdir("sub", dir_fd=fd)
            await fs.rename("inner", "moved", src_dir_fd=fd, dst_dir_fd=fd)
            await fs.symlink("moved", "sym", dir_fd=fd)
            await fs.link("sym", "hard", src_dir_fd=fd, dst_dir_fd=fd)
            await fs.unlink("moved", dir_fd=fd)
            await fs.rmdir("sub", dir_fd=fd)
            assert await fs.stat(fd) == os.fstat(fd)
        finally:
            os.close(fd)

    run(main)
    os.chdir("full")
    assert sorted(os.listdir()) == ["hard", "sym"] and not os.path.islink("hard")


def test_what_a_link_of_a_link_leads_to(run, folder):
    """Depends on the arguments, and before 3.14 on whether there is a descriptor."""
    folder("place")
    os.symlink("inner", "full/sym")

    async def main():
        fd = os.open("full", os.O_RDONLY)
        try:
            cases = [("link", {}), ("sym", {"src_dir_fd": fd})]
            for number, (name, where) in enumerate(cases):
                for how in ({}, {"follow_symlinks": True}, {"follow_symlinks": False}):
                    expected, actual = f"os {number} {how}", f"ours {number} {how}"
                    os.link(name, expected, **where, **how)
                    await fs.link(name, actual, **where, **how)
                    assert os.path.islink(actual) == os.path.islink(expected), actual
        finally:
            os.close(fd)

    run(main)


def test_same_file(run, folder):
    folder("place")

    async def main():
        return await fs.samefile("file", "link"), await fs.samefile("file", "empty")

    assert run(main) == (True, False)


def test_audit_hooks_hear_of_it(run_ring, folder):
    """What os tells them, the ring's functions tell, too."""
    folder("place")
    heard = []
    wanted = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link",
              "os.symlink"}

    def hook(event, args):
        # Names without a folder are those that are given below.
        if listening and event in wanted and "/" not in str(args[0]):
            heard.append((event, args[0]))

    async def main():
        await fs.mkdir("m")
        await fs.rmdir("m")
        await fs.link("file", "l")
        await fs.rename("l", "k")
        await fs.unlink("k")
        await fs.symlink("x", "s")
        await uring_loop.read_bytes("file")

    listening = True
    sys.addaudithook(hook)
    try:
        run_ring(main)
    finally:
        # A hook stays for ever.
        listening = False
    assert heard == [
        ("os.mkdir", "m"), ("os.rmdir", "m"), ("os.link", "file"), ("os.rename", "l"),
        ("os.remove", "k"), ("os.symlink", "x"), ("open", "file")]


# ---- Path ---------------------------------------------------------------------------

PATHS = ("file", "link", "dangling", "empty", "full", "missing", "file/x")
QUESTIONS = ("exists", "is_file", "is_dir", "is_symlink", "is_fifo", "is_socket",
             "is_block_device", "is_char_device", "is_mount", "owner", "group",
             "read_bytes", "read_text", "readlink", "resolve", "stat", "lstat", "rmdir",
             "unlink", "mkdir", "touch", "expanduser")


@pytest.mark.parametrize("path", PATHS)
def test_path_as_pathlib(run, folder, path):
    async def main():
        for name in QUESTIONS:
            expected_place = folder(f"expected {name}")
            expected = attempt(getattr(pathlib.Path(path), name))
            place = folder(f"ours {name}")
            actual = await attempt_ours(getattr(uring_loop.Path(path), name))
            if isinstance(expected, pathlib.Path):
                assert type(actual) is uring_loop.Path
                expected = str(expected).replace("expected", "ours")
                actual = str(actual)
            assert actual == expected, name
            assert tree(place) == tree(expected_place), name

    run(main)


def test_path_has_pathlibs_names():
    """Those that say the same in another way, or that pathlib is giving up, aside."""
    ours, theirs = dir(uring_loop.Path), dir(pathlib.Path)
    newer = {"copy", "copy_into", "move", "move_into", "info", "from_uri", "link_to",
             "is_junction", "walk"}
    assert {n for n in theirs if n[0] != "_"} - set(ours) <= newer
    for name in {"stat", "exists", "mkdir", "rename", "chmod", "cwd", "resolve"}:
        assert inspect.iscoroutinefunction(getattr(uring_loop.Path, name))


def test_paths_are_made_and_found(run, folder):
    place = folder("place")

    async def main():
        root = uring_loop.Path(place)
        new = root / "a" / "b"
        with pytest.raises(FileNotFoundError):
            await new.mkdir()
        await new.mkdir(parents=True)
        await new.mkdir(exist_ok=True)
        with pytest.raises(FileExistsError):
            await new.mkdir()
        with pytest.raises(FileExistsError):
            await (root / "file").mkdir(exist_ok=True)
        assert await (new / "text").write_text("h\u00e9", "utf-8") == 2
        assert await (new / "text").read_text("utf-8") == "h\u00e9"
        assert await (new / "data").write_bytes(b"12") == 2
        async with (new / "data").open("rb") as file:
            assert await file.read() == b"12"
        moved = await (new / "data").rename(new / "moved")
        assert type(moved) is uring_loop.Path and await moved.exists()
        assert await (await moved.replace(new / "data")).read_bytes() == b"12"
        await (new / "s").symlink_to("data")
        await (new / "h").hardlink_to(new / "data")
        assert await (new / "h").samefile(new / "s")
        await (new / "h").chmod(0o600)
        assert stat.S_IMODE((await (new / "h").stat()).st_mode) == 0o600
        names = [path.name async for path in new.iterdir()]
        assert sorted(names) == ["data", "h", "s", "text"]
        assert [p async for p in root.glob("a/b/te*")] == [new / "text"]
        assert [p async for p in root.rglob("text")] == [new / "text"]
        await (new / "gone").unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            await (new / "gone").unlink()
        assert await uring_loop.Path.cwd() == uring_loop.Path(place)
        assert await uring_loop.Path.home() == uring_loop.Path(pathlib.Path.home())
        assert uring_loop.Path("file").absolute() == root / "file"
        assert os.fspath(new) == str(new) and new == pathlib.PurePosixPath(new)

    run(main)


@pytest.mark.skipif(not hasattr(pathlib.Path, "walk"), reason="came with Python 3.12")
def test_walk(run, folder):
    place = folder("place")

    async def main():
        return [item async for item in uring_loop.Path(place).walk()]

    assert run(main) == list(pathlib.Path(place).walk())


def test_files_work_on_loops_of_others(no_leaks, folder):
    folder("place")

    async def main():
        await uring_loop.write_text("new", "text")
        assert await uring_loop.Path("new").read_text() == "text"
        assert await fs.getsize("new") == 4

    # Stock asyncio's: all of it in threads.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
