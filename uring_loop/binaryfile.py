"""A binary file of `uring_loop.open`: a descriptor with a buffer, as io.BufferedRandom.

The file keeps its own position and reads and writes at offsets, unless it cannot seek.
Bytes read ahead are `_chunk[_start:]`, bytes not yet written are `_dirty`; only one of
the two is there at a time. `_at` is the position that the user sees: the unread bytes
begin there, the unwritten ones end there.

Everything that may wait holds the lock, so that tasks that use one file take turns.
What the buffer can answer at once is answered without it. A task that is cancelled
loses nothing: bytes that came too late for it are read by the next.
"""

import asyncio
import errno
import io
import os
import warnings

from uring_loop.threads import Call

WHENCES = {os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE}


def check_not_negative(number, other=0):
    """The kernel's error: further down, a negative offset has a meaning."""
    if number < 0 or other < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class BinaryFile:
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

    async def _begin_read(self, attempt="read"):
        """With the lock held: nothing may wait to be written when something is read."""
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation(attempt)
        if self._seekable and not self._buffer_bytes:
            # What readline() read too much: each read asks the file itself.
            self._chunk, self._start = b"", 0
        await self._flush()

    # ---- reading

    async def read(self, size=-1):
        """Up to `size` bytes, fewer only at the end; all that there are for -1."""
        if size is None:
            size = -1
        end = self._start + size
        if 0 < size and end <= len(self._chunk) and not self._lock.locked():
            return self._take(end)
        async with self._lock:
            await self._begin_read()
            if size > 0 and not self._buffer_bytes:
                return await self._read_once(size)
            await self._gather(size)
            return self._take(len(self._chunk) if size < 0 else self._start + size)

    async def readall(self):
        """All that there is up to the end."""
        return await self.read()

    async def read1(self, size=-1):
        """Up to `size` bytes with one read at most; a buffer full for -1."""
        if size < 0:
            size = self._buffer_bytes or io.DEFAULT_BUFFER_SIZE
        async with self._lock:
            await self._begin_read()
            return await self._read_once(size) if size else b""

    async def peek(self, size=0):
        """The bytes that come next, without moving; at least one unless at the end."""
        async with self._lock:
            await self._begin_read("peek")
            await self._gather(1)
            return self._chunk[self._start:]

    async def readinto(self, buffer):
        """Fill the buffer; how many bytes it got, fewer only at the end."""
        view = memoryview(buffer).cast("B")
        async with self._lock:
            await self._begin_read("readinto")
            done = self._take_into(view)
            while done < len(view) and (self._buffer_bytes or not done):
                count = await self._read_into(view[done:])
                done += count
                if not count:
                    break
            return done

    async def readinto1(self, buffer):
        """Put bytes into the buffer with one read at most; how many."""
        view = memoryview(buffer).cast("B")
        async with self._lock:
            await self._begin_read("readinto1")
            return self._take_into(view) or await self._read_into(view)

    async def readline(self, size=-1):
        """Bytes up to the next newline, but `size` at most."""
        if size is None:
            size = -1
        end = self._chunk.find(b"\n", self._start) + 1
        if end and size < 0 and not self._lock.locked():
            return self._take(end)
        async with self._lock:
            await self._begin_read("readline")
            while (end := self._line_end(size)) is None:
                if not await self._more():
                    end = len(self._chunk)
                    break
            return self._take(end)

    async def readlines(self, hint=-1):
        """Lines, until there are more than `hint` bytes of them, or all."""
        lines, total = [], 0
        while line := await self.readline():
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:
                break
        return lines

    def __aiter__(self):
        self._check()
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def _take(self, end):
        """The unread bytes up to this index of the chunk; they are read now."""
        chunk, start = self._chunk, self._start
        data = chunk[start:end] if start or end < len(chunk) else chunk
        self._at += len(data)
        self._start += len(data)
        if self._start == len(chunk):
            self._chunk, self._start = b"", 0
        return data

    def _take_into(self, view):
        data = self._take(self._start + len(view))
        view[:len(data)] = data
        return len(data)

    def _line_end(self, size):
        """Where in the chunk the line ends; None if more has to be read to know."""
        limit = len(self._chunk) if size < 0 else self._start + size
        end = self._chunk.find(b"\n", self._start, limit) + 1
        if end:
            return end
        return limit if 0 <= size and limit <= len(self._chunk) else None

    async def _more(self):
        """Read once behind what is unread; False at the end of the file."""
        unread = len(self._chunk) - self._start
        if self._buffer_bytes or self._seekable:
            fetch = max(unread, self._buffer_bytes)
        else:
            # Nothing could be put back.
            fetch = 1
        await self._gather(unread + 1, fetch)
        return len(self._chunk) > unread

    async def _gather(self, size, fetch=0):
        """Have `size` bytes unread, or all that there are (-1, or at the end)."""
        unread = len(self._chunk) - self._start
        if 0 <= size <= unread:
            return
        fetch = fetch or self._buffer_bytes
        if size < 0:
            fetch = await self._rest_bytes(unread)
        parts = [self._chunk[self._start:]] if unread else []
        try:
            while size < 0 or unread < size:
                want = max(size - unread, fetch)
                if not await self._fetch(want, self._at + unread, parts):
                    break
                unread += len(parts[-1])
                if self._raw.direct and len(parts[-1]) < want:
                    # The end: a read from there would not be aligned.
                    break
        finally:
            # Whatever ends it, nothing that was read is lost.
            self._chunk, self._start = b"".join(parts), 0

    async def _rest_bytes(self, unread):
        """How much to ask for when all is wanted: the rest and one byte, which shows
        the end in the same read. Files of unknown size say 0."""
        found = await self._raw.stat()
        rest = found.st_size - self._at - unread + 1
        # In whole pages, as O_DIRECT wants it.
        return -(-max(rest, self._buffer_bytes, 8192) // 4096) * 4096

    async def _fetch(self, size, offset, parts):
        """Read once and add what came to the parts; False at the end of the file."""
        operation = self._raw.read(size, offset if self._seekable else -1)
        try:
            data = await operation
        except asyncio.CancelledError:
            parts.append(operation.late or b"")
            raise
        if data:
            parts.append(data)
        return bool(data)

    async def _read_once(self, size):
        if self._start == len(self._chunk):
            parts = []
            try:
                await self._fetch(size, self._at, parts)
            finally:
                self._chunk, self._start = b"".join(parts), 0
        return self._take(self._start + size)

    async def _read_into(self, view):
        """Read once; what fills a buffer goes straight into the caller's memory."""
        if self._buffer_bytes > len(view):
            await self._gather(1)
            return self._take_into(view)
        operation = self._raw.readinto(view, self._at if self._seekable else -1)
        try:
            count = await operation
        except asyncio.CancelledError:
            if not self._seekable:
                self._chunk, self._start = bytes(view[:operation.late or 0]), 0
            raise
        self._at += count
        return count

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
            check_not_negative(offset)
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
            check_not_negative(size)
            self._chunk, self._start = b"", 0
            await self._raw.truncate(size)
            return size

    def _check_seekable(self):
        if not self._seekable:
            raise io.UnsupportedOperation("File or stream is not seekable.")

    # ---- what the os module has

    async def pread(self, size, offset):
        """Bytes at an offset, with one read; many may run at a time."""
        check_not_negative(size, offset)
        if self._dirty:
            await self.flush()
        self._check()
        return await self._raw.read(size, offset)

    async def preadinto(self, buffer, offset):
        """Bytes at an offset into the buffer, with one read; how many."""
        check_not_negative(offset)
        if self._dirty:
            await self.flush()
        self._check()
        return await self._raw.readinto(buffer, offset)

    async def pwrite(self, data, offset):
        """Write bytes at an offset, with one write; how many. Many may run at a time."""
        check_not_negative(offset)
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
