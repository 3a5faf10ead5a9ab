"""BufferPool: the receive buffers that a driver fills, a ring of provided buffers."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcpy, memset
from posix.mman cimport (
    MADV_DONTFORK, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE,
    madvise, mmap, munmap)

from uring_loop.driver.libc cimport MAP_NORESERVE
from uring_loop.driver.ring cimport Ring, fork_mark_now, os_error
from uring_loop.driver.uapi cimport (
    IORING_CQE_BUFFER_SHIFT, io_uring_buf, io_uring_buf_reg, io_uring_buf_ring_add,
    io_uring_buf_ring_advance, io_uring_buf_ring_mask, io_uring_register_buf_ring)


cdef enum:
    # Room for 64 KiB, a header and an address. A multiple of the cache's line that is
    # none of a page, or all would meet in the same few lines.
    MESSAGE_BYTES = 65536 + 128
    MESSAGES_COUNT = 32
    MESSAGES_MOST = 256


cdef BufferPool make_stream_pool(Ring ring):
    """What streams receive into."""
    return BufferPool(ring, group=STREAM_GROUP)


cdef BufferPool make_message_pool(Ring ring):
    """What datagrams are received into: each must fit into one buffer."""
    return BufferPool(ring, MESSAGES_COUNT, MESSAGE_BYTES, MESSAGES_MOST, MESSAGE_GROUP)


@cython.final
cdef class BufferPool:
    """Receive buffers that the kernel picks from when data is there.

    One provided-buffer ring (Linux 5.19). Whoever gets a completion copies the bytes
    out and gives the buffer back at once, so that few are needed and those stay in
    the processor's cache. `grow` adds one, up to `most`: call it for each completion
    with ENOBUFS and there are as many as were ever needed at a time.
    """

    def __cinit__(self, Ring ring not None, unsigned count=64,
                  unsigned buffer_bytes=16384, unsigned most=1024,
                  unsigned short group=0):
        cdef io_uring_buf_reg reg
        cdef int res
        self.ring = ring
        self.fork_mark = fork_mark_now()
        self.group = group
        self.buffer_bytes = buffer_bytes
        self.most = most
        self.mask = io_uring_buf_ring_mask(most)
        self.entries = <io_uring_buf_ring *>map_private(most * sizeof(io_uring_buf))
        self.memory = <char *>map_private(<size_t>most * buffer_bytes)
        memset(&reg, 0, sizeof(reg))
        reg.ring_addr = <uint64_t><uintptr_t>self.entries
        reg.ring_entries = most
        reg.bgid = group
        res = io_uring_register_buf_ring(&ring.ring, &reg, 0)
        if res < 0:
            raise os_error(res)
        self.provide(min(count, most))

    def provide(self, unsigned count):
        cdef unsigned i
        for i in range(count):
            io_uring_buf_ring_add(
                self.entries, self.memory + <size_t>self.count * self.buffer_bytes,
                self.buffer_bytes, <unsigned short>self.count, self.mask, i)
            self.count += 1
        io_uring_buf_ring_advance(self.entries, count)

    cdef BufferPool again(self, Ring ring):
        """A pool of the same shape for another ring, without buffers yet."""
        return BufferPool(ring, 0, self.buffer_bytes, self.most, self.group)

    cdef int take_over(self, BufferPool old, dict held) except -1:
        """Provide as many buffers as the old pool of the same shape had.

        `held` maps the numbers of buffers whose completions have not been reaped to
        the bytes in each. These are copied under the same number, and provided when
        the completion's owner gives them back.
        """
        cdef unsigned i
        cdef int provided = 0
        cdef char *buffer
        for i in range(old.count):
            buffer = self.memory + <size_t>i * self.buffer_bytes
            size = held.get(i)
            if size is None:
                io_uring_buf_ring_add(
                    self.entries, buffer, self.buffer_bytes, <unsigned short>i,
                    self.mask, provided)
                provided += 1
            else:
                memcpy(buffer, old.memory + <size_t>i * self.buffer_bytes,
                       <size_t>size)
        self.count = old.count
        io_uring_buf_ring_advance(self.entries, provided)
        return 0

    cpdef bint grow(self):
        """One buffer more; False when there are as many as there may be."""
        if self.count == self.most:
            return False
        self.provide(1)
        return True

    cpdef bytes take(self, unsigned flags, Py_ssize_t size):
        """The bytes of a completion with these flags; its buffer is given back."""
        try:
            return PyBytes_FromStringAndSize(self.borrow(flags), size)
        finally:
            self.give_back(flags)

    cdef char *borrow(self, unsigned flags) noexcept:
        # Arithmetic only: cannot raise.
        return (self.memory
                + <size_t>(flags >> IORING_CQE_BUFFER_SHIFT) * self.buffer_bytes)

    cdef void give_back(self, unsigned flags) noexcept:
        # Stores only: cannot raise. A forked child has nothing at these addresses.
        if self.fork_mark != fork_mark_now():
            return
        io_uring_buf_ring_add(
            self.entries, self.borrow(flags), self.buffer_bytes,
            <unsigned short>(flags >> IORING_CQE_BUFFER_SHIFT), self.mask, 0)
        io_uring_buf_ring_advance(self.entries, 1)

    def __dealloc__(self):
        if self.fork_mark != fork_mark_now():
            # A forked child has other things at these addresses.
            return
        if self.entries != NULL:
            munmap(self.entries, self.most * sizeof(io_uring_buf))
        if self.memory != NULL:
            munmap(self.memory, <size_t>self.most * self.buffer_bytes)


cdef void *map_private(size_t size) except NULL:
    """Zeroed pages, not inherited by a forked child, which must not see data."""
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if memory == MAP_FAILED:
        raise MemoryError
    madvise(memory, size, MADV_DONTFORK)
    return memory
