"""A binary file of `uring_loop.open`: a descriptor with a buffer, as io.BufferedRandom.

The file keeps its own position and reads and writes at offsets, unless it cannot seek.
`_dirty` holds the bytes not yet written. A file never has unwritten bytes and bytes
read ahead (see reading.py) at the same time. `_at` is the position that the user sees:
the unread bytes begin there, the unwritten ones end there.

A method holds the lock while it may wait, so that tasks that use one file take turns. A
method that the buffer satisfies does not wait and takes no lock. The cancellation of a
task loses no data: the next read gets the bytes that arrived after it.
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
    """Raise the kernel's error for a negative offset: RingFile gives -1 a meaning."""
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

    # ---- properties

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
        """Write all bytes (without a buffer, as many as one write(2) accepts)."""
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
        """Write the buffered bytes to the file."""
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
        """Write once; returns the number of bytes. `gone` is called with the number,
        also
        if the task was cancelled before the write completed."""
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
        """Agree with the descriptor's position: read it for a file that appends, set it
        for a descriptor that belongs to other code (closefd=False)."""
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
        """Move to an offset from the start, the position or the end; returns the new
        position."""
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
                # SEEK_DATA and SEEK_HOLE need the buffered bytes in the file.
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
        """Set the file's size (None: to the position); the position stays."""
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

    # ---- functions of the os module

    async def pread(self, size, offset):
        """Read bytes at an offset by one read; many may run at a time."""
        if size < 0 or offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        if self._closed:
            self._check()
        data = self._raw.read_now(size, offset)
        return await self._raw.read(size, offset) if data is None else data

    async def preadinto(self, buffer, offset):
        """Read at an offset into the buffer by one read; returns the number of
        bytes."""
        if offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        self._check()
        count = self._raw.readinto_now(buffer, offset)
        return await self._raw.readinto(buffer, offset) if count is None else count

    async def pwrite(self, data, offset):
        """Write at an offset by one write; returns the number of bytes. Many may run at
        a time."""
        if offset < 0:
            raise invalid()
        if self._dirty:
            await self.flush()
        self._check()
        if self._seekable:
            # The bytes read ahead may be outdated.
            self._chunk, self._start = b"", 0
        return await self._raw.write(data, offset)

    async def fsync(self):
        """Write data and metadata to the disk."""
        await self.flush()
        await self._raw.fsync(False)

    async def fdatasync(self):
        """As fsync, without metadata such as times."""
        await self.flush()
        await self._raw.fsync(True)

    async def fallocate(self, offset, size, mode=0):
        """Reserve space; other modes are those of fallocate(2)."""
        await self.flush()
        await self._raw.fallocate(mode, offset, size)

    async def stat(self):
        """os.fstat() of the file; bytes that are not flushed do not count."""
        self._check()
        return await self._raw.stat()

    # ---- the end

    async def close(self):
        """Flush and close. Waits for the operations in flight; a read from a file that
        cannot seek (a pipe, a terminal) is cancelled and fails with ECANCELED."""
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
        """Close the descriptor, also if the task is cancelled meanwhile."""
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
