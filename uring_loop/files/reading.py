"""What all files have that read lines, and the half of a BinaryFile that reads.

Bytes read ahead are `_chunk[_start:]`; the first of them is at `_at`, the position that
the user sees. What has been read when a task is cancelled is left there for the next.
"""

import asyncio
import io


class Lines:
    """Lines of a file that has `readline`, bytes or text."""

    async def readlines(self, hint=-1):
        """Lines, until they have more than `hint` bytes or characters, or all."""
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
    """What BinaryFile inherits; it brings the descriptor, the lock and the writing."""

    async def _begin_read(self, attempt="read"):
        """With the lock held: nothing may wait to be written when something is read."""
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation(attempt)
        if self._seekable and not self._buffer_bytes:
            # What readline() read too much: each read asks the file itself.
            self._chunk, self._start = b"", 0
        await self._flush()

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
