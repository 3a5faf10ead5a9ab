"""Pipe transports: asyncio's own, with one compiled method for reading, one for
writing.

Readiness comes from the loop's watches. An end of file, an error and a pipe that is
full already are left to asyncio's own code, which makes the call again.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from libc.errno cimport EAGAIN, errno

from asyncio import unix_events

from uring_loop.driver.capi cimport FREE_THREADED
from uring_loop.driver.libc cimport read, write
from uring_loop.scheduler.loop_core cimport BULK_BYTES, LoopCore

class ReadPipeTransport(unix_events._UnixReadPipeTransport):
    """Reads into the loop's buffer instead of allocating 256 KiB for each read."""

    def _read_ready(self):
        cdef LoopCore loop = self._loop
        cdef char *memory = loop.bulk_memory()
        cdef ssize_t count = read(self._fileno, memory, BULK_BYTES)
        if count > 0:
            self._protocol.data_received(PyBytes_FromStringAndSize(memory, count))
        elif count == 0 or errno != EAGAIN:
            super()._read_ready()


class WritePipeTransport(unix_events._UnixWritePipeTransport):
    """Writes bytes by one system call where nothing is buffered."""

    def write(self, data):
        cdef LoopCore loop = self._loop
        cdef ssize_t count
        # A closed transport has no loop.
        if FREE_THREADED and loop is not None:
            loop.refuse_elsewhere()
        if loop is not None and loop.held.first is not None:
            # Written before these bytes: sent before them.
            loop.held.flush()
        if (not PyBytes_CheckExact(data) or PyBytes_GET_SIZE(data) == 0
                or self._conn_lost or self._closing or self._buffer):
            super().write(data)
            return
        count = write(self._fileno, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if count == PyBytes_GET_SIZE(data):
            return
        if count >= 0:
            data = memoryview(data)[count:]
        elif errno != EAGAIN:
            super().write(data)
            return
        self._loop._add_writer(self._fileno, self._write_ready)
        self._buffer += data
        self._maybe_pause_protocol()
