"""Unbuffered files: on the ring, or in threads where the driver has no file operations.

Both classes have the same methods. Each starts the operation and returns an awaitable,
to be awaited at once and by one task. An offset of -1 is the file's own position.
"""

import asyncio
import os

from uring_loop.files import operations
from uring_loop.files.executor import Call
from uring_loop.scheduler.loop_core import LoopCore

# The operations that every RingFile needs; Linux 5.6 has all of them.
NEEDED = ("OPENAT", "CLOSE", "STATX", "READ", "WRITE", "FSYNC", "FALLOCATE")


def ring_with(*opcodes):
    """The running loop if its ring has these operations, else None."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, LoopCore):
        return None
    if all(loop.ring.has_opcode(operations.OPCODES[name]) for name in opcodes):
        return loop
    return None


def raw_file(fd, direct=False):
    """The descriptor as a RingFile or a ThreadFile.

    direct: it was opened with O_DIRECT, which needs aligned memory.
    """
    loop = ring_with(*NEEDED)
    if loop is None:
        return ThreadFile(fd, direct)
    return operations.RingFile(loop, fd, direct)


async def open_descriptor(path, flags, mode=0o666):
    """os.open(); the descriptor is not inherited by child processes."""
    loop = ring_with(*NEEDED)
    if loop is None:
        return await Call(open_now, path, flags, mode)
    return await operations.openat(loop, path, flags, mode)


def open_now(path, flags, mode):
    return os.open(path, flags | os.O_CLOEXEC, mode)


class ThreadFile:
    """A descriptor whose operations are calls in the loop's default executor."""

    def __init__(self, fd, direct=False):
        self.fd = fd
        self.direct = direct
        self._calls = set()

    def read(self, size, offset):
        """Read at most `size` bytes; a short result is possible before the end, too."""
        if self.direct:
            return self._call(read_direct, self.fd, size, offset)
        if offset < 0:
            return self._call(os.read, self.fd, size)
        return self._call(os.pread, self.fd, size, offset)

    def read_now(self, size, offset):
        """None: a thread is always waited for."""

    def readinto_now(self, buffer, offset):
        """As read_now()."""

    def readinto(self, buffer, offset):
        """Read into the buffer; the result is the number of bytes."""
        return self._call(read_into, self.fd, buffer, offset)

    def write(self, data, offset):
        """Write; the result is the number of bytes written, which may be short."""
        if self.direct:
            data = aligned_copy(data)
        if offset < 0:
            return self._call(os.write, self.fd, data)
        return self._call(os.pwrite, self.fd, data, offset)

    def fsync(self, data_only):
        return self._call(os.fdatasync if data_only else os.fsync, self.fd)

    def fallocate(self, mode, offset, size):
        return self._call(operations.fallocate_now, self.fd, mode, offset, size)

    def truncate(self, size):
        return self._call(os.ftruncate, self.fd, size)

    def stat(self):
        return self._call(os.fstat, self.fd)

    def close(self):
        """Close the descriptor. No other operation may be in flight: see
        `wait_idle`."""
        # The number may name another file soon.
        fd, self.fd = self.fd, -1
        return self._call(os.close, fd)

    @property
    def busy_count(self):
        return len(self._calls)

    async def wait_idle(self):
        """Wait until no operation is in flight."""
        while self._calls:
            await asyncio.wait(self._calls)

    def cancel_reads(self):
        """Do nothing: a read in a thread cannot be cancelled."""

    def _call(self, function, *args):
        call = Call(function, *args)
        self._calls.add(call.future)
        call.future.add_done_callback(self._calls.discard)
        return call


def read_into(fd, buffer, offset):
    if offset < 0:
        return os.readv(fd, [buffer])
    return os.preadv(fd, [buffer], offset)


def read_direct(fd, size, offset):
    if size == 0:
        return b""
    memory = memoryview(operations.AlignedMemory(size))
    count = read_into(fd, memory, offset)
    return bytes(memory[:count])


def aligned_copy(data):
    """Copy the bytes to page-aligned memory."""
    size = memoryview(data).nbytes
    if size == 0:
        return b""
    memory = memoryview(operations.AlignedMemory(size))
    memory[:] = bytes(data)
    return memory
