"""Base classes of files: iteration over lines, and the reading half of BinaryFile.

The bytes read ahead are `_chunk[_start:]`; the first of them is at `_at`, the position
that the user sees. If a task is cancelled, the bytes already read stay there for the
next read.
"""

import asyncio
import io


class Lines:
    """Iteration over the lines of a file with `readline`, bytes or text."""

    async def readlines(self, hint=-1):
        """All lines, or lines until their total size exceeds `hint`."""
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


class Reading(Lines):
    """The reading methods of BinaryFile, which adds descriptor, lock and writing."""

    async def _begin_read(self, attempt="read"):
        """Prepare a read, with the lock held: flush the unwritten bytes first."""
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation(attempt)
        if self._seekable and not self._buffer_bytes:
            # Drop the surplus bytes of readline(): an unbuffered read reads the file.
            self._chunk, self._start = b"", 0
        await self._flush()

    async def read(self, size=-1):
        """Read `size` bytes, fewer only at the end; -1: to the end."""
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
        """Read to the end of the file."""
        return await self.read()

    async def read1(self, size=-1):
        """Read up to `size` bytes by at most one read; -1: up to the buffer size."""
        if size < 0:
            size = self._buffer_bytes or io.DEFAULT_BUFFER_SIZE
        async with self._lock:
            await self._begin_read()
            return await self._read_once(size) if size else b""

    async def peek(self, size=0):
        """The next bytes, without moving the position; at least one unless at the
        end."""
        async with self._lock:
            await self._begin_read("peek")
            await self._gather(1)
            return self._chunk[self._start:]

    async def readinto(self, buffer):
        """Fill the buffer; returns the number of bytes, which is short only at the
        end."""
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
        """Read into the buffer by at most one read; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        async with self._lock:
            await self._begin_read("readinto1")
            return self._take_into(view) or await self._read_into(view)

    async def readline(self, size=-1):
        """Read up to and including the next newline, at most `size` bytes."""
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

    def _take(self, end):
        """Take the unread bytes up to this index of the chunk."""
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
        """The index of the line's end in the chunk; None if more must be read."""
        limit = len(self._chunk) if size < 0 else self._start + size
        end = self._chunk.find(b"\n", self._start, limit) + 1
        if end:
            return end
        return limit if 0 <= size and limit <= len(self._chunk) else None

    async def _more(self):
        """Append one read to the unread bytes; False at the end of the file."""
        unread = len(self._chunk) - self._start
        if self._buffer_bytes or self._seekable:
            fetch = max(unread, self._buffer_bytes)
        else:
            # Surplus bytes could not be put back.
            fetch = 1
        await self._gather(unread + 1, fetch)
        return len(self._chunk) > unread

    async def _gather(self, size, fetch=0):
        """Read until `size` bytes are unread, or to the end of the file (-1)."""
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
                    # This is the end: a read from there would not be aligned.
                    break
        finally:
            # Keep the bytes already read after an exception, too.
            self._chunk, self._start = b"".join(parts), 0

    async def _rest_bytes(self, unread):
        """The size of a read to the end: the rest of the file and one byte, so that the
        same read detects the end. st_size is 0 for files of unknown size."""
        found = await self._raw.stat()
        rest = found.st_size - self._at - unread + 1
        # Whole pages, which O_DIRECT needs.
        return -(-max(rest, self._buffer_bytes, 8192) // 4096) * 4096

    async def _fetch(self, size, offset, parts):
        """Read once and append the bytes to `parts`; False at the end of the file."""
        if not self._seekable:
            offset = -1
        data = self._raw.read_now(size, offset)
        if data is not None:
            parts.append(data)
            return True
        operation = self._raw.read(size, offset)
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
        """Read once; a read of at least a buffer's size goes directly to the caller's
        memory."""
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
