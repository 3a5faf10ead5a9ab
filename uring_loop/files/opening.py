"""Opens files: `uring_loop.open`, and functions that read or write a whole file."""

import errno
import io
import locale
import operator
import os
import stat
import sys
import warnings

from uring_loop.files import operations
from uring_loop.files.binaryfile import BinaryFile
from uring_loop.files.executor import Call
from uring_loop.files.rawfile import open_descriptor, raw_file
from uring_loop.files.textfile import TextFile

__all__ = [
    "BinaryFile", "Opening", "TextFile", "aligned_buffer", "copyfile", "open",
    "read_bytes", "read_text", "write_bytes", "write_text"]

# The default buffer size. A trip through the loop costs more than a system call, so the
# buffers are larger than those of the builtin open().
BUFFER_BYTES = 65536
COPY_BYTES = 1 << 20

FLAGS = {
    "r": 0,
    "w": os.O_CREAT | os.O_TRUNC,
    "a": os.O_CREAT | os.O_APPEND,
    "x": os.O_CREAT | os.O_EXCL,
}


def open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None,
         closefd=True, opener=None, *, flags=0):
    """Open a file, by `async with` or `await`: a BinaryFile or a TextFile.

    Arguments and errors are those of the builtin `open`. `flags` are additional flags
    for open(2), such as os.O_DIRECT: then the file has no buffer, and offsets and sizes
    must be multiples of the device's block size (4096 always fits). Memory need not be
    aligned, but aligned memory (`aligned_buffer`) is not copied.

    On io_uring (Linux 5.11) all operations complete on the loop's ring. On the epoll
    backend and on other event loops, the same calls run in the loop's default executor.
    """
    arguments = Arguments(file, mode, buffering, encoding, errors, newline, closefd,
                          flags)
    return Opening(arguments.open(opener))


class Opening:
    """A pending open(), for `async with` or `await`."""

    def __init__(self, opening):
        self._opening = opening
        self._file = None

    def __await__(self):
        return self._opening.__await__()

    async def __aenter__(self):
        self._file = await self._opening
        return self._file

    async def __aexit__(self, *exc_info):
        await self._file.close()


class Arguments:
    """The arguments of open(), with the checks of the builtin."""

    def __init__(self, file, mode, buffering, encoding, errors, newline, closefd,
                 flags):
        self.file = file if isinstance(file, int) else os.fspath(file)
        self.mode = mode
        self.kind = kind_of_mode(mode)
        self.updating = "+" in mode
        self.binary = "b" in mode
        self.closefd = closefd
        self.direct = bool(flags & os.O_DIRECT)
        self.flags = flags | os.O_CLOEXEC | FLAGS[self.kind] | (
            os.O_RDWR if self.updating
            else os.O_RDONLY if self.kind == "r" else os.O_WRONLY)
        self.buffering = operator.index(buffering)
        if self.binary:
            refuse_text_arguments(encoding, errors, newline)
        else:
            self.text = text_arguments(encoding, errors, newline)
        self.check_buffering()
        if not closefd and not isinstance(file, int):
            raise ValueError("Cannot use closefd=False with file name")

    def check_buffering(self):
        if not self.binary and (self.buffering == 0 or self.direct):
            raise ValueError("can't have unbuffered text I/O")
        if self.binary and self.buffering == 1:
            warnings.warn(
                "line buffering (buffering=1) isn't supported in binary mode, the "
                "default buffer size will be used", RuntimeWarning, stacklevel=4)
            self.buffering = -1

    async def open(self, opener):
        sys.audit("open", self.file, self.mode, self.flags)
        if isinstance(self.file, int):
            fd = self.file
        elif opener is None:
            fd = await open_descriptor(self.file, self.flags)
        else:
            fd = await self.opened_by(opener)
        try:
            raw = raw_file(fd, self.direct)
        except BaseException:
            # No memory: nothing else would close it.
            if self.closefd:
                os.close(fd)
            raise
        try:
            found = await raw.stat()
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(
                    errno.EISDIR, os.strerror(errno.EISDIR), self.file)
            return self.file_object(raw, found)
        except BaseException:
            if self.closefd:
                await raw.close()
            raise

    async def opened_by(self, opener):
        fd = await Call(opener, self.file, self.flags)
        if not isinstance(fd, int):
            raise TypeError("expected integer from opener")
        if fd < 0:
            raise ValueError(f"opener returned {fd}")
        os.set_inheritable(fd, False)
        return fd

    def file_object(self, raw, found):
        buffer_bytes = self.buffering
        if self.direct:
            buffer_bytes = 0
        elif buffer_bytes < 0 or (buffer_bytes == 1 and not self.binary):
            buffer_bytes = max(found.st_blksize, BUFFER_BYTES)
        seekable = is_seekable(raw.fd)
        if self.updating and buffer_bytes and not seekable:
            raise io.UnsupportedOperation("File or stream is not seekable.")
        mode = self.kind + ("b+" if self.updating else "b")
        file = BinaryFile(raw, self.file, mode, buffer_bytes, self.closefd, seekable)
        if self.binary:
            return file
        interactive = self.buffering < 0 and os.isatty(raw.fd)
        return TextFile(file, self.mode, *self.text, self.buffering == 1 or interactive)


def kind_of_mode(mode):
    """One of "r", "w", "a", "x"; raises the builtin's ValueError."""
    if not isinstance(mode, str):
        raise TypeError(
            f"open() argument 'mode' must be str, not {type(mode).__name__}")
    given = set(mode)
    if given - set("rwax+bt") or len(given) < len(mode):
        raise ValueError(f"invalid mode: {mode!r}")
    if {"b", "t"} <= given:
        raise ValueError("can't have text and binary mode at once")
    kinds = given & set(FLAGS)
    if not kinds:
        raise ValueError("Must have exactly one of create/read/write/append mode "
                         "and at most one plus")
    if len(kinds) > 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    return kinds.pop()


def is_seekable(fd):
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True


def refuse_text_arguments(encoding, errors, newline):
    given = {"an encoding": encoding, "an errors": errors, "a newline": newline}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"binary mode doesn't take {name} argument")


def text_arguments(encoding, errors, newline):
    """(encoding, errors, newline), resolved and checked as by io.TextIOWrapper."""
    encoding = io.text_encoding(encoding, 4)
    if encoding == "locale":
        encoding = locale.getencoding()
    judge = io.TextIOWrapper(io.BytesIO(), encoding, errors, newline)
    return judge.encoding, judge.errors, newline


def aligned_buffer(size):
    """Writable, page-aligned memory of `size` bytes, for O_DIRECT.

    A memoryview, zeroed. `readinto`, `preadinto`, `write` and `pwrite` use it without
    a copy.
    """
    return memoryview(operations.AlignedMemory(size))


# ---- whole files ------------------------------------------------------------------


async def read_bytes(path):
    """Read all bytes of a file."""
    async with open(path, "rb", buffering=0) as file:
        return await file.read()


async def read_text(path, encoding=None, errors=None, newline=None):
    """Read all text of a file."""
    if encoding is None:
        encoding = io.text_encoding(encoding)
    async with open(path, "r", -1, encoding, errors, newline) as file:
        return await file.read()


async def write_bytes(path, data):
    """Create or replace a file with these bytes; returns their number."""
    view = memoryview(data).cast("B")
    async with open(path, "wb") as file:
        return await file.write(view)


async def write_text(path, data, encoding=None, errors=None, newline=None):
    """Create or replace a file with this text; returns the number of characters."""
    if not isinstance(data, str):
        raise TypeError(f"data must be str, not {type(data).__name__}")
    if encoding is None:
        encoding = io.text_encoding(encoding)
    async with open(path, "w", -1, encoding, errors, newline) as file:
        return await file.write(data)


async def copyfile(source, target, *, progress=None):
    """Copy a file's contents, as shutil.copyfile; returns the target.

    progress: called after each chunk (at most 1 MiB) with the number of bytes copied
    and the source's size at the start. Raises shutil.SameFileError, or its base OSError
    if shutil has not been imported.
    """
    async with open(source, "rb", buffering=0) as reader:
        found = await reader.stat()
        # Not "w", which would empty the file before the check for the same file.
        async with open(target, "ab", buffering=0) as writer:
            if os.path.samestat(found, await writer.stat()):
                raise same_file_error()(
                    f"{source!r} and {target!r} are the same file")
            await writer.truncate(0)
            copied = 0
            while data := await reader.read(COPY_BYTES):
                await write_all(writer, data)
                copied += len(data)
                if progress is not None:
                    progress(copied, found.st_size)
    return target


def same_file_error():
    """shutil.SameFileError, or OSError if the program has not imported shutil."""
    shutil = sys.modules.get("shutil")
    return OSError if shutil is None else shutil.SameFileError


async def write_all(writer, data):
    view = memoryview(data)
    while view:
        view = view[await writer.write(view):]
