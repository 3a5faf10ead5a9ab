"""A text file of `uring_loop.open`: io.TextIOWrapper's work over a BinaryFile.

Bytes are read in chunks and decoded by the stdlib's incremental decoders. `_text` is
the decoded text of the chunks in `_chunks`, and `_used` the number of characters
already read. Chunks that have been read completely are dropped, except for the last. A
chunk keeps the decoder's state before it, so that `tell` can return a position from
which `seek` decodes again.
"""

import asyncio
import codecs
import io
import os

from uring_loop.files.reading import Lines

CHUNK_BYTES = 65536
# A position of tell(): the offset to read from, the state of the decoder, and the
# number of characters to skip. For most encodings the last two are 0.
STATE_SHIFT = 64
SKIP_SHIFT = 192


class TextFile(Lines):
    """A file of text, made by `uring_loop.open(path, "r")` and the like.

    The methods are those of the files that the builtin `open` returns, but must be
    awaited; they raise the same errors. `buffer` is the BinaryFile below.
    """

    def __init__(self, buffer, mode, encoding, errors, newline, line_buffering):
        self.buffer = buffer
        self.mode = mode
        self.encoding = encoding
        self.errors = errors
        self.line_buffering = line_buffering
        self._lock = asyncio.Lock()
        self._newline = newline
        self._written_newline = newline if newline in ("\r", "\r\n") else None
        self._encoder = codecs.getincrementalencoder(encoding)(errors)
        self._decoder = self._new_decoder()
        self._forget()
        if buffer._writable and buffer._seekable and buffer._at:
            # Do not write a byte order mark in the middle of a file.
            self._encoder.setstate(0)

    def _new_decoder(self):
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        if self._newline in (None, ""):
            decoder = io.IncrementalNewlineDecoder(decoder, self._newline is None)
        return decoder

    def _forget(self):
        """Drop the text read ahead."""
        self._text, self._used, self._chunks = "", 0, []

    # ---- properties

    @property
    def name(self):
        return self.buffer.name

    @property
    def closed(self):
        return self.buffer.closed

    @property
    def newlines(self):
        """The kinds of newlines read so far, as of the builtin."""
        return getattr(self._decoder, "newlines", None)

    def fileno(self):
        return self.buffer.fileno()

    async def isatty(self):
        return await self.buffer.isatty()

    async def readable(self):
        return await self.buffer.readable()

    async def writable(self):
        return await self.buffer.writable()

    async def seekable(self):
        return await self.buffer.seekable()

    def __repr__(self):
        return (f"<{type(self).__name__} {self.name!r} mode={self.mode!r} "
                f"encoding={self.encoding!r}>")

    def _check(self, readable=False, writable=False):
        self.buffer._check()
        if readable and not self.buffer._readable:
            raise io.UnsupportedOperation("not readable")
        if writable and not self.buffer._writable:
            raise io.UnsupportedOperation("not writable")

    # ---- reading

    async def read(self, size=-1):
        """Read `size` characters, fewer only at the end; -1: to the end."""
        async with self._lock:
            self._check(readable=True)
            if size is None or size < 0:
                return await self._read_all()
            while len(self._text) - self._used < size:
                if not await self._more():
                    break
            return self._take(self._used + size)

    async def _read_all(self):
        data = await self.buffer.read()
        text = self._text[self._used:] + self._decoder.decode(data, True)
        self._forget()
        return text

    async def readline(self, size=-1):
        """Read up to and including the next newline, at most `size` characters."""
        if size is None:
            size = -1
        end = self._line_end(self._used)
        if end and size < 0 and not self._lock.locked():
            self._check(readable=True)
            return self._take(end)
        async with self._lock:
            self._check(readable=True)
            while not (end := self._line_end(self._used)):
                if 0 <= size <= len(self._text) - self._used:
                    break
                if not await self._more():
                    break
            end = end or len(self._text)
            return self._take(end if size < 0 else min(end, self._used + size))

    def _take(self, end):
        data = self._text[self._used:end]
        self._used += len(data)
        while len(self._chunks) > 1 and self._used >= self._chunks[0].length:
            length = self._chunks.pop(0).length
            self._text = self._text[length:]
            self._used -= length
        return data

    def _line_end(self, start):
        """The index of the line's end in the text; 0 if more must be read."""
        text, newline = self._text, self._newline
        if newline == "":
            feed = text.find("\n", start)
            back = text.find("\r", start, len(text) if feed < 0 else feed)
            if back >= 0:
                return back + 2 if text.startswith("\n", back + 1) else back + 1
            return feed + 1
        newline = newline or "\n"
        end = text.find(newline, start)
        return end + len(newline) if end >= 0 else 0

    async def _more(self):
        """Read and decode once more; False at the end of the file."""
        state = self._decoder.getstate()
        size = max(CHUNK_BYTES, len(self._text) - self._used)
        data = await self.buffer.read1(size)
        text = self._decoder.decode(data, not data)
        if text or data:
            if self._used == len(self._text):
                self._forget()
            self._text += text
            self._chunks.append(Chunk(self.buffer._at - len(data), state, data, text))
        return bool(text or data)

    # ---- writing

    async def write(self, text):
        """Encode and write; returns the number of characters before the translation of
        newlines."""
        if not isinstance(text, str):
            raise TypeError(
                f"write() argument must be str, not {type(text).__name__}")
        async with self._lock:
            self._check(writable=True)
            written = text
            if self._written_newline and "\n" in text:
                written = text.replace("\n", self._written_newline)
            data = self._encoder.encode(written)
            if self._chunks:
                self._forget()
                self._decoder.reset()
            await self.buffer.write(data)
            if self.line_buffering and ("\n" in text or "\r" in text):
                await self.buffer.flush()
            return len(text)

    async def writelines(self, lines):
        """Write each of these; no newlines are added."""
        for line in lines:
            await self.write(line)

    async def flush(self):
        """Write the buffered bytes to the file."""
        await self.buffer.flush()

    # ---- the position

    async def tell(self):
        """A number for `seek`: the offset of the next byte, where that is enough."""
        async with self._lock:
            return await self._tell()

    async def _tell(self):
        self._check()
        if not self.buffer._seekable:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        await self.buffer.flush()
        if self._used == len(self._text):
            # All text has been read: the position is behind the last chunk. It must not
            # be before a byte order mark, though no character lies between.
            pending, flags = self._decoder.getstate() if self._chunks else (b"", 0)
            return self.buffer._at - len(pending) | flags << STATE_SHIFT
        return self._chunks[0].cookie(self._used, self._new_decoder())

    async def seek(self, cookie, whence=os.SEEK_SET):
        """Move to a position of `tell`, to the start, or (0, 2) to the end."""
        async with self._lock:
            self._check()
            if not self.buffer._seekable:
                raise io.UnsupportedOperation("underlying stream is not seekable")
            if whence == os.SEEK_CUR:
                if cookie:
                    raise io.UnsupportedOperation("can't do nonzero cur-relative seeks")
                cookie = await self._tell()
            elif whence == os.SEEK_END:
                if cookie:
                    raise io.UnsupportedOperation("can't do nonzero end-relative seeks")
                cookie = await self.buffer.seek(0, os.SEEK_END)
            elif whence != os.SEEK_SET:
                raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
            if cookie < 0:
                raise ValueError(f"negative seek position {cookie!r}")
            await self._go_to(cookie)
            return cookie

    async def _go_to(self, cookie):
        offset = cookie & (1 << STATE_SHIFT) - 1
        state = cookie >> STATE_SHIFT & (1 << SKIP_SHIFT - STATE_SHIFT) - 1
        skip = cookie >> SKIP_SHIFT
        await self.buffer.seek(offset)
        self._forget()
        if cookie == 0:
            self._decoder.reset()
            self._encoder.reset()
        else:
            self._decoder.setstate((b"", state))
            self._encoder.setstate(0)
        while len(self._text) < skip:
            if not await self._more():
                raise OSError("can't restore logical file position")
        self._take(skip)

    async def truncate(self, size=None):
        """Set the file's size in bytes; the position stays."""
        async with self._lock:
            self._check()
            return await self.buffer.truncate(size)

    # ---- the end

    async def close(self):
        """Flush and close, as BinaryFile.close."""
        await self.buffer.close()

    async def __aenter__(self):
        self._check()
        return self

    async def __aexit__(self, *exc_info):
        await self.close()


class Chunk:
    """A chunk of bytes with its offset, the decoder's state before it, and the number
    of its characters."""

    def __init__(self, offset, state, data, text):
        self.pending, self.flags = state
        self.offset = offset - len(self.pending)
        self.data = data
        self.length = len(text)

    def cookie(self, used, decoder):
        """The position after `used` of the chunk's characters."""
        data = self.pending + self.data
        # Find the smallest number of bytes that decode to `used` characters: more
        # bytes never decode to fewer characters.
        low, high = 0, len(data)
        while low < high:
            middle = (low + high) // 2
            if self.decoded(decoder, data[:middle]) < used:
                low = middle + 1
            else:
                high = middle
        if self.decoded(decoder, data[:low]) == used:
            pending, flags = decoder.getstate()
            if not pending:
                return self.offset + low | flags << STATE_SHIFT
        return self.offset | self.flags << STATE_SHIFT | used << SKIP_SHIFT

    def decoded(self, decoder, data):
        decoder.setstate((b"", self.flags))
        return len(decoder.decode(data))
