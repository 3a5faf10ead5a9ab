"""File operations: each request is one operation, which its task awaits.

A FileOperation takes the place of a Future: the task waits for the operation itself,
and the completion runs the task at once. Cancelling the task requests the cancellation
of the request; the task gets CancelledError when the kernel has completed the request.
So the caller never gets back memory that the kernel may still access.

An operation must be awaited at once, by one task of its loop.
"""

cimport cython
from cpython.buffer cimport (
    Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
    PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, EOPNOTSUPP, errno
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import os
from asyncio import CancelledError

from uring_loop.driver.capi cimport PyContext_CopyCurrent, _PyBytes_Resize
from uring_loop.driver.ring cimport Operation, os_error
from uring_loop.driver.uapi cimport *
from uring_loop.scheduler.handles cimport Handle, run_handle
from uring_loop.scheduler.loop_core cimport LoopCore

from uring_loop.files.executor import Call

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef extern from "<fcntl.h>":
    int AT_FDCWD
    int AT_EMPTY_PATH
    int AT_SYMLINK_NOFOLLOW
    int AT_SYMLINK_FOLLOW
    int AT_REMOVEDIR
    int O_CLOEXEC
    int libc_fallocate "fallocate"(int fd, int mode, int64_t offset, int64_t size) nogil

cdef extern from "<sys/sysmacros.h>":
    uint64_t makedev(unsigned major, unsigned minor)

cdef enum:
    # The kernel's limit for one request.
    MOST_BYTES = 0x7FFFF000
    # Sufficient for O_DIRECT on every device.
    ALIGNMENT = 4096
    # The most bytes read from the page cache per file and iteration of the loop.
    BYTES_AT_ONCE = 1048576

OPCODES = {
    "READ": IORING_OP_READ,
    "WRITE": IORING_OP_WRITE,
    "FSYNC": IORING_OP_FSYNC,
    "FALLOCATE": IORING_OP_FALLOCATE,
    "FTRUNCATE": IORING_OP_FTRUNCATE,
    "OPENAT": IORING_OP_OPENAT,
    "CLOSE": IORING_OP_CLOSE,
    "STATX": IORING_OP_STATX,
    "RENAMEAT": IORING_OP_RENAMEAT,
    "UNLINKAT": IORING_OP_UNLINKAT,
    "MKDIRAT": IORING_OP_MKDIRAT,
    "SYMLINKAT": IORING_OP_SYMLINKAT,
    "LINKAT": IORING_OP_LINKAT,
}
cdef dict NAMES = {opcode: name for name, opcode in OPCODES.items()}


@cython.final
cdef class FileOperation(Operation):
    """One request on a file or a path; awaiting it returns its result.

    The class has the methods of asyncio's Future that a waiting task uses.
    """

    # ---- operation

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        sqe[0] = self.entry
        return 0

    cdef FileOperation start(self):
        self.loop.ring.prepare(self)
        if self.file is not None:
            self.file.busy_count += 1
        return self

    cdef int complete(self, int res, unsigned flags) except -1:
        if not (self.cancel_requested or self.loop._closed):
            # A signal interrupted the request, or the thread that submitted it has
            # ended. In both cases nothing has been done yet: repeat it.
            if res == -EINTR or (res == -ECANCELED and not self.repeated):
                self.repeated = res == -ECANCELED
                self.loop.ring.prepare(self)
                return 0
        try:
            if res >= 0:
                self.value = self.converted(res)
            else:
                self.error = self.failure(os_error(res))
        except Exception as exc:
            # A MemoryError is raised in the task.
            self.error = exc
        self.drop_memory()
        if self.cancelled:
            self.error = CancelledError()
        return self.finish()

    cdef int finish(self) except -1:
        """Run the waiting task, unless the loop is closed."""
        cdef Handle handle
        cdef object callback = self.callback
        self.done = True
        self.callback = None
        if self.file is not None:
            self.file.ended()
        if callback is None or self.loop._closed:
            return 0
        handle = Handle.__new__(Handle)
        handle._callback = callback
        handle._args = (self,)
        handle._loop = self.loop
        handle._context = self.context
        run_handle(handle)
        if self.loop.held.first is not None:
            self.loop.held.callback_returned()
        return 0

    cdef object converted(self, int res):
        if self.gives == GIVES_BYTES:
            return self.taken_bytes(res)
        if self.gives == GIVES_COUNT:
            return res
        if self.gives == GIVES_STAT:
            return stat_result(<uring_statx *>self.own_memory)
        if self.gives == GIVES_DESCRIPTOR:
            if self.cancelled or self.loop._closed:
                # The task gets no result: close the descriptor.
                os.close(res)
            return res
        return None

    cdef object taken_bytes(self, Py_ssize_t size):
        """The bytes read, cut to the size of the result."""
        cdef PyObject *taken
        if self.own_memory != NULL:
            return PyBytes_FromStringAndSize(<char *>self.own_memory, size)
        taken = <PyObject *>self.memory
        Py_INCREF(self.memory)
        self.memory = None
        if size != self.entry.len:
            _PyBytes_Resize(&taken, size)
        result = <object>taken
        Py_DECREF(result)
        return result

    cdef object failure(self, exc):
        if self.filename is not None:
            exc.filename = self.filename
        if self.filename2 is not None:
            exc.filename2 = self.filename2
        return exc

    # ---- memory in flight

    cdef void *hold_own(self, size_t size) except NULL:
        """Aligned memory that lives as long as the operation."""
        if posix_memalign(&self.own_memory, ALIGNMENT, max(size, <size_t>1)):
            raise MemoryError
        return self.own_memory

    cdef int hold_view(self, object buffer, int flags) except -1:
        PyObject_GetBuffer(buffer, &self.view, flags)
        self.has_view = True
        return 0

    cdef int drop_memory(self) except -1:
        if self.has_view:
            self.has_view = False
            PyBuffer_Release(&self.view)
        self.memory = None
        self.second_memory = None
        return 0

    def __dealloc__(self):
        # The operation is not in flight, or the ledger would hold it.
        if self.has_view:
            PyBuffer_Release(&self.view)
        free(self.own_memory)

    # ---- move to another ring

    cdef bint abandoned(self) except -1:
        """The old ring posts no completion, so the request may access its memory at any
        later time: that memory is never freed."""
        if self.repeatable and not self.cancel_requested and not self.loop._closed:
            try:
                self.replace_memory()
                return True
            except MemoryError:
                # End as an operation that cannot be repeated.
                pass
        Py_INCREF(self)
        self.error = CancelledError() if self.cancelled else RuntimeError(
            f"the loop moved to another thread with {self!r}: "
            "whether it was carried out is not known")
        self.done = True
        if self.file is not None:
            self.file.ended()
        if self.callback is not None and not self.loop._closed:
            self.loop.call_soon_fast(self.callback, (self,), self.context)
            self.callback = None
        return False

    cdef int replace_memory(self) except -1:
        """Leave the memory to the old request and allocate new memory."""
        cdef size_t size = self.entry.len
        Py_INCREF(self.memory)
        if self.gives == GIVES_STAT:
            self.entry.off = <uint64_t><uintptr_t>self.hold_own(sizeof(uring_statx))
        elif self.own_memory != NULL:
            self.entry.addr = <uint64_t><uintptr_t>self.hold_own(size)
        elif self.gives == GIVES_BYTES:
            self.memory = PyBytes_FromStringAndSize(NULL, size)
            self.entry.addr = <uint64_t><uintptr_t>PyBytes_AS_STRING(self.memory)
        return 0

    # ---- future

    def __await__(self):
        return self

    def __next__(self):
        if not self.done:
            if self.callback is not None:
                raise RuntimeError("an operation on a file is awaited once")
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())

    def get_loop(self):
        return self.loop

    def add_done_callback(self, callback, *, context=None):
        if context is None:
            context = PyContext_CopyCurrent()
        if self.done:
            self.loop.call_soon_fast(callback, (self,), context)
        else:
            self.callback = callback
            self.context = context

    def result(self):
        if self.error is not None:
            # Raise it once: each raise adds to the exception's traceback.
            error, self.error = self.error, None
            raise error
        return self.value

    def cancel(self, msg=None):
        """Request the cancellation; the task gets CancelledError at the completion."""
        if self.done:
            return False
        self.cancelled = True
        self.loop.cancel(self)
        return True

    @property
    def late(self):
        """The result that a cancelled task has not received; None for an error."""
        return self.value

    def __repr__(self):
        name = NAMES.get(self.entry.opcode, self.entry.opcode)
        target = "" if self.file is None else f" fd={self.file.fd}"
        if self.filename is not None:
            target = f" {self.filename!r}"
        state = "in flight" if self.in_flight else "done" if self.done else "idle"
        return f"<FileOperation {name}{target} {state}>"


cdef object stat_result(uring_statx *found):
    """Convert the result of statx() to os.stat_result."""
    times = [(t.tv_sec, t.tv_nsec) for t in (
        found.stx_atime, found.stx_mtime, found.stx_ctime)]
    return os.stat_result((
        found.stx_mode, found.stx_ino,
        makedev(found.stx_dev_major, found.stx_dev_minor),
        found.stx_nlink, found.stx_uid, found.stx_gid, found.stx_size,
        *[seconds for seconds, _ in times],
        *[seconds + 1e-9 * rest for seconds, rest in times],
        *[seconds * 1_000_000_000 + rest for seconds, rest in times],
        found.stx_blksize, found.stx_blocks,
        makedev(found.stx_rdev_major, found.stx_rdev_minor)))


# ---- files ----------------------------------------------------------------------

@cython.final
cdef class RingFile:
    """A descriptor and the number of its operations in flight.

    An offset of -1 is the file's own position, for files that cannot seek or append.
    """

    def __cinit__(self, LoopCore loop not None, int fd, bint direct=False):
        self.loop = loop
        self.fd = fd
        self.direct = direct
        self.caches = True

    cdef FileOperation operation(self, int gives, bint repeatable):
        cdef FileOperation op = FileOperation.__new__(FileOperation)
        op.loop = self.loop
        op.file = self
        op.gives = gives
        op.repeatable = repeatable
        return op

    def read(self, Py_ssize_t size, int64_t offset):
        """Read at most `size` bytes; a short result is possible before the end, too."""
        cdef FileOperation op = self.operation(GIVES_BYTES, offset >= 0)
        cdef void *address
        size = min(size, MOST_BYTES)
        if self.direct:
            address = op.hold_own(size)
        else:
            op.memory = PyBytes_FromStringAndSize(NULL, size)
            address = PyBytes_AS_STRING(op.memory)
        io_uring_prep_read(&op.entry, self.fd, address, size, offset)
        return op.start()

    def readinto(self, buffer, int64_t offset):
        """Read into the buffer; the result is the number of bytes."""
        cdef FileOperation op = self.operation(GIVES_COUNT, False)
        op.hold_view(buffer, PyBUF_WRITABLE)
        io_uring_prep_read(
            &op.entry, self.fd, op.view.buf, min(op.view.len, MOST_BYTES), offset)
        return op.start()

    def read_now(self, Py_ssize_t size, int64_t offset):
        """The bytes if all of them are in the page cache, else None: then use
        read()."""
        if not self.may_read_now(size, offset):
            return None
        data = PyBytes_FromStringAndSize(NULL, size)
        return data if self.reads_now(PyBytes_AS_STRING(data), size, offset) else None

    def readinto_now(self, buffer, int64_t offset):
        """Fill the buffer as read_now() does: the number of bytes, or None."""
        cdef Py_buffer view
        cdef Py_ssize_t count = -1
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        if (self.may_read_now(view.len, offset)
                and self.reads_now(<char *>view.buf, view.len, offset)):
            count = view.len
        PyBuffer_Release(&view)
        return count if count >= 0 else None

    cdef bint may_read_now(self, Py_ssize_t size, int64_t offset) noexcept:
        """Limit cached reads per iteration of the loop: a task that reads cached data
        would starve all others."""
        # Arithmetic only: cannot raise.
        if self.direct or not self.caches or offset < 0 or size <= 0:
            return False
        if self.step_number != self.loop.step_number:
            self.step_number = self.loop.step_number
            self.bytes_left = BYTES_AT_ONCE
        self.bytes_left -= min(size, BYTES_AT_ONCE + 1)
        return self.bytes_left >= 0

    cdef bint reads_now(self, char *address, Py_ssize_t size, int64_t offset) noexcept:
        """Read from the page cache; False for an error or a short read, which the ring
        repeats: a result must be short at the end of the file only."""
        # A system call that never sleeps: it cannot raise, and keeps the GIL.
        cdef ssize_t res = uring_read_now(self.fd, address, size, offset)
        if res == -EOPNOTSUPP:
            self.caches = False
        return res == size

    def write(self, data, int64_t offset):
        """Write; the result is the number of bytes written, which may be short."""
        cdef FileOperation op = self.operation(GIVES_COUNT, False)
        cdef void *address
        cdef size_t size
        op.hold_view(data, PyBUF_SIMPLE)
        address, size = op.view.buf, min(op.view.len, MOST_BYTES)
        if self.direct and <uintptr_t>address % ALIGNMENT:
            address = memcpy(op.hold_own(size), address, size)
        io_uring_prep_write(&op.entry, self.fd, address, size, offset)
        return op.start()

    def fsync(self, bint data_only):
        cdef FileOperation op = self.operation(GIVES_NOTHING, True)
        io_uring_prep_fsync(
            &op.entry, self.fd, IORING_FSYNC_DATASYNC if data_only else 0)
        return op.start()

    def fallocate(self, int mode, uint64_t offset, uint64_t size):
        cdef FileOperation op = self.operation(GIVES_NOTHING, False)
        io_uring_prep_fallocate(&op.entry, self.fd, mode, offset, size)
        return op.start()

    def truncate(self, uint64_t size):
        if not self.loop.ring.has_opcode(IORING_OP_FTRUNCATE):
            return Call(os.ftruncate, self.fd, size)
        cdef FileOperation op = self.operation(GIVES_NOTHING, False)
        io_uring_prep_rw(IORING_OP_FTRUNCATE, &op.entry, self.fd, NULL, 0, size)
        return op.start()

    def stat(self):
        cdef FileOperation op = self.operation(GIVES_STAT, True)
        prepare_statx(op, self.fd, b"", AT_EMPTY_PATH)
        return op.start()

    def close(self):
        """Close the descriptor. No other operation may be in flight: see
        `wait_idle`."""
        cdef FileOperation op = self.operation(GIVES_NOTHING, False)
        io_uring_prep_close(&op.entry, self.fd)
        op.start()
        # The number may name another file soon.
        self.fd = -1
        return op

    cdef int ended(self) except -1:
        self.busy_count -= 1
        if self.busy_count == 0 and self.idle is not None and not self.loop._closed:
            idle, self.idle = self.idle, None
            if not idle.done():
                idle.set_result(None)
        return 0

    async def wait_idle(self):
        """Wait until no operation is in flight."""
        while self.busy_count:
            if self.idle is None:
                self.idle = self.loop.create_future()
            await self.idle

    def cancel_reads(self):
        """Request the end of all reads in flight; they fail with ECANCELED."""
        for op in self.loop.ring.in_flight():
            if (isinstance(op, FileOperation) and (<FileOperation>op).file is self
                    and (<FileOperation>op).entry.opcode == IORING_OP_READ):
                self.loop.cancel(op)


def fallocate_now(int fd, int mode, int64_t offset, int64_t size):
    """fallocate(2) by a direct call; os.posix_fallocate() has no modes."""
    cdef int res
    with nogil:
        res = libc_fallocate(fd, mode, offset, size)
    if res < 0:
        raise os_error(-errno)


# ---- paths ----------------------------------------------------------------------

cdef FileOperation on_path(LoopCore loop, int gives, path, path2=None):
    """An operation that holds its paths as C strings and names them in errors."""
    cdef FileOperation op = FileOperation.__new__(FileOperation)
    op.loop = loop
    op.gives = gives
    op.filename = os.fspath(path)
    op.memory = c_path(op.filename)
    if path2 is not None:
        op.filename2 = os.fspath(path2)
        op.second_memory = c_path(op.filename2)
    return op


cdef bytes c_path(path):
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


cdef int directory(dir_fd) except? -1:
    return AT_FDCWD if dir_fd is None else dir_fd


cdef int prepare_statx(FileOperation op, int fd, bytes path, int flags) except -1:
    op.memory = path
    op.repeatable = True
    memset(op.hold_own(sizeof(uring_statx)), 0, sizeof(uring_statx))
    io_uring_prep_statx(&op.entry, fd, path, flags, URING_STATX_BASIC_STATS,
                        <statx *>op.own_memory)
    return 0


def openat(LoopCore loop not None, path, int flags, unsigned mode, dir_fd=None):
    """Open a file; the descriptor is not inherited by child processes."""
    cdef FileOperation op = on_path(loop, GIVES_DESCRIPTOR, path)
    io_uring_prep_openat(
        &op.entry, directory(dir_fd), <bytes>op.memory, flags | O_CLOEXEC, mode)
    return op.start()


def stat(LoopCore loop not None, path, dir_fd=None, bint follow_symlinks=True):
    """os.stat_result."""
    cdef FileOperation op = on_path(loop, GIVES_STAT, path)
    prepare_statx(op, directory(dir_fd), op.memory,
                  0 if follow_symlinks else AT_SYMLINK_NOFOLLOW)
    return op.start()


def mkdir(LoopCore loop not None, path, unsigned mode, dir_fd=None):
    cdef FileOperation op = on_path(loop, GIVES_NOTHING, path)
    io_uring_prep_mkdirat(&op.entry, directory(dir_fd), <bytes>op.memory, mode)
    return op.start()


def unlink(LoopCore loop not None, path, dir_fd=None, bint is_directory=False):
    """Remove a name, or an empty directory."""
    cdef FileOperation op = on_path(loop, GIVES_NOTHING, path)
    io_uring_prep_unlinkat(&op.entry, directory(dir_fd), <bytes>op.memory,
                           AT_REMOVEDIR if is_directory else 0)
    return op.start()


def rename(LoopCore loop not None, source, target, src_dir_fd=None, dst_dir_fd=None):
    cdef FileOperation op = on_path(loop, GIVES_NOTHING, source, target)
    io_uring_prep_renameat(
        &op.entry, directory(src_dir_fd), <bytes>op.memory,
        directory(dst_dir_fd), <bytes>op.second_memory, 0)
    return op.start()


def link(LoopCore loop not None, source, target, src_dir_fd=None, dst_dir_fd=None,
         bint follow_symlinks=True):
    cdef FileOperation op = on_path(loop, GIVES_NOTHING, source, target)
    io_uring_prep_linkat(
        &op.entry, directory(src_dir_fd), <bytes>op.memory,
        directory(dst_dir_fd), <bytes>op.second_memory,
        AT_SYMLINK_FOLLOW if follow_symlinks else 0)
    return op.start()


def symlink(LoopCore loop not None, source, target, dir_fd=None):
    cdef FileOperation op = on_path(loop, GIVES_NOTHING, source, target)
    io_uring_prep_symlinkat(
        &op.entry, <bytes>op.memory, directory(dir_fd), <bytes>op.second_memory)
    return op.start()


# ---- memory for O_DIRECT


@cython.final
cdef class AlignedMemory:
    """Zeroed, page-aligned memory, as a writable buffer. The module mmap has the same,
    but start-up would have to load it from a file."""

    def __cinit__(self, Py_ssize_t size):
        if size < 1:
            raise ValueError("size must be at least 1")
        if posix_memalign(&self.memory, ALIGNMENT, size):
            raise MemoryError()
        memset(self.memory, 0, size)
        self.size = size

    def __getbuffer__(self, Py_buffer *view, int flags):
        Py_DECREF(None)     # Cython has put a reference to it into `view`.
        PyBuffer_FillInfo(view, self, self.memory, self.size, False, flags)

    def __dealloc__(self):
        free(self.memory)
