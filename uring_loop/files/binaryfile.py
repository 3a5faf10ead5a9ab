"""A binary file of `uring_loop.open`: a descriptor with a buffer, as io.BufferedRandom.

The file keeps its own position and reads and writes at offsets, unless it cannot seek.
Bytes not yet written are `_dirty`; what is read ahead (see reading.py) and they are
never there at a time. `_at` is the position that the user sees: the unread bytes begin
there, the unwritten ones end there.

Everything that may wait holds the lock, so that tasks that use one file take turns.
What the buffer can answer at once is answered without it. A task that is cancelled
loses nothing: bytes that came too late for it are read by the next.
"""

import asyncio
import errno
import io
import os
import warnings

from uring_loop.files.executor import Call
from uring_loop.files.reading import Reading

WHENCES = {os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE}


def invalid():
    """The kernel's error for a negative offset, which has a meaning further down."""
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class BinaryFile(Reading):
    """A file of bytes, made by `uring_loop.open(path, "rb")` and the like.

    The methods are those of the files that the builtin `open` returns, but must be
    awaited; they raise the same errors. `pread`, `pwrite`, `preadinto`, `fsync`,
    `fdatasync`, `fallocate` and `stat` are those of the os module.
    """

    def __init__(self, raw, name, mode, buffer_bytes, closefd, seekable):
        self.name = name
        self.mode = mode
        self._raw = raw
        self._closefd = closefd
        self._closed = False
        self._lock = asyncio.Lock()
        self._buffer_bytes = buffer_bytes
        self._readable = "r" in mode or "+" in mode
        self._writable = "r" not in mode or "+" in mode
        self._appending = "a" in mode
        self._chunk = b""
        self._start = 0
        self._dirty = bytearray()
        self._seekable = seekable
        self._at = 0
        if seekable:
            self._at = os.lseek(
                raw.fd, 0, os.SEEK_END if self._appending else os.SEEK_CUR)

    # ---- what it is

    @property
    def closed(self):
        return self._closed

    def fileno(self):
        self._check()
        return self._raw.fd

    async def isatty(self):
        self._check()
        return os.isatty(self._raw.fd)

    async def readable(self):
        self._check()
        return self._readable

    async def writable(self):
        self._check()
        return self._writable

    async def seekable(self):
        self._check()
        return self._seekable

    def __repr__(self):
        state = "closed" if self._closed else f"fd={self._raw.fd}"
        return f"<{type(self).__name__} {self.name!r} mode={self.mode!r} {state}>"

    def _check(self):
        if self._closed:
            raise ValueError("I/O operation on closed file")

    # ---- writing

    async def write(self, data):
        """Take all bytes (or, without a buffer, as many as one write moves)."""
        view = memoryview(data)
        if (len(self._dirty) + view.nbytes <= self._buffer_bytes
                and self._start == len(self._chunk) and self._writable
                and not self._closed and not self._lock.locked()):
            self._dirty += view
            self._at += view.nbytes
            return view.nbytes
        async with self._lock:
            self._begin_write("write")
            return await self._write(view.cast("B"))

    async def writelines(self, lines):
        """Write each of these; no newlines are added."""
        for line in lines:
            await self.write(line)

    async def flush(self):
        """Hand what was written to the kernel."""
        async with self._lock:
            self._check()
            await self._flush()

    def _begin_write(self, attempt):
        self._check()
        if not self._writable:
            raise io.UnsupportedOperation(attempt)

    async def _write(self, view):
        self._chunk, self._start = b"", 0
        if len(self._dirty) + len(view) > self._buffer_bytes:
            await self._flush()
        if len(view) < self._buffer_bytes:
            self._dirty += view
            self._at += len(view)
            return len(view)
        done = 0
        while done < len(view):
            done += await self._put(view[done:], self._at, self._move)
            if not self._buffer_bytes:
                break
        return done

    def _move(self, count):
        self._at += count
        self._settle()

    async def _flush(self):
        while self._dirty:
            await self._put(self._dirty, self._at - len(self._dirty), self._drop)

    def _drop(self, count):
        del self._dirty[:count]
        if not self._dirty:
            self._settle()

    async def _put(self, data, offset, gone):
        """Write once; how many bytes. `gone` is told of them even if they went out
        too late for a task that was cancelled."""
        positioned = self._seekable and not self._appending
        operation = self._raw.write(data, offset if positioned else -1)
        try:
            count = await operation
        except asyncio.CancelledError:
            gone(operation.late or 0)
            raise
        gone(count)
        return count

    def _settle(self):
        """Agree on the position with the kernel, where it has a say or others look."""
        if self._seekable and self._appending:
            self._at = os.lseek(self._raw.fd, 0, os.SEEK_CUR)
        elif self._seekable and not self._closefd:
            os.lseek(self._raw.fd, self._at, os.SEEK_SET)

    # ---- the position

    async def tell(self):
        self._check()
        self._check_seekable()
        return self._at

    async def seek(self, offset, whence=os.SEEK_SET):
        """Move to an offset from the start, the position or the end; the new one."""
        if whence not in WHENCES:
            raise ValueError(f"invalid whence value ({whence})")
        async with self._lock:
            self._check()
            self._check_seekable()
            await self._flush()
            if whence == os.SEEK_CUR:
                offset += self._at
            elif whence == os.SEEK_END:
                offset = os.lseek(self._raw.fd, offset, whence)
            elif whence != os.SEEK_SET:
                # These look for it on the disk.
                offset = await Call(os.lseek, self._raw.fd, offset, whence)
            if offset < 0:
                raise invalid()
            start = self._start + offset - self._at
            if 0 <= start < len(self._chunk):
                self._start = start
            else:
                self._chunk, self._start = b"", 0
            self._at = offset
            return offset

    async def truncate(self, size=None):
        """Cut or grow the file to this size, the position if None; the position
        stays."""
        async with self._lock:
            self._begin_write("truncate")
            await self._flush()
            if size is None:
                self._check_seekable()
                size = self._at
            if size < 0:
                raise invalid()
            self._chunk, self._start = b"", 0
            await self._raw.truncate(size)
            return size

    def _check_seekable(self):
        if not self._seekable:
            raise io.UnsupportedOperation("File or stream is not seekable.")

    # ---- what the os module has

    async def pread(self, size, offset):
        """Bytes at an offset, with one read; many may run at a time."""
        if size < 0 or offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        if self._closed:
            self._check()
        data = self._raw.read_now(size, offset)
        return await self._raw.read(size, offset) if data is None else data

    async def preadinto(self, buffer, offset):
        """Bytes at an offset into the buffer, with one read; how many."""
        if offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        self._check()
        count = self._raw.readinto_now(buffer, offset)
        return await self._raw.readinto(buffer, offset) if count is None else count

    async def pwrite(self, data, offset):
        """Write at an offset, with one write; how many bytes. Many may run at once."""
        if offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        self._check()
        if self._seekable:
            # What was read ahead may be older.
            self._chunk, self._start = b"", 0
        return await self._raw.write(data, offset)

    async def fsync(self):
        """Have all that was written on the disk, and what the system knows of it."""
        await self.flush()
        await self._raw.fsync(False)

    async def fdatasync(self):
        """As fsync, without times and the like."""
        await self.flush()
        await self._raw.fsync(True)

    async def fallocate(self, offset, size, mode=0):
        """Reserve space; other modes are those of fallocate(2)."""
        await self.flush()
        await self._raw.fallocate(mode, offset, size)

    async def stat(self):
        """os.fstat() of the file; what is not flushed is not counted."""
        self._check()
        return await self._raw.stat()

    # ---- the end

    async def close(self):
        """Flush and close. Waits for what is in flight; a read from what cannot seek
        (a pipe, a terminal) is cancelled and fails with ECANCELED."""
        if self._closed:
            return
        self._closed = True
        if not self._seekable:
            self._raw.cancel_reads()
        try:
            async with self._lock:
                await self._flush()
        finally:
            await self._release()

    async def _release(self):
        """Close the descriptor, even if the task is cancelled meanwhile."""
        cancelled = None
        while self._raw.busy_count:
            try:
                await self._raw.wait_idle()
            except asyncio.CancelledError as exc:
                cancelled = exc
        if self._closefd:
            await self._raw.close()
        if cancelled is not None:
            raise cancelled

    async def __aenter__(self):
        self._check()
        return self

    async def __aexit__(self, *exc_info):
        await self.close()

    def __del__(self):
        if self._closed or not self._closefd:
            return
        self._closed = True
        warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self)
        try:
            if self._dirty and self._seekable and not self._appending:
                os.pwrite(self._raw.fd, self._dirty, self._at - len(self._dirty))
            elif self._dirty:
                os.write(self._raw.fd, self._dirty)
        finally:
            os.close(self._raw.fd)
