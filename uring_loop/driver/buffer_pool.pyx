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
    # The size of a datagram of 64 KiB, a header and an address. It is a multiple of a
    # cache line and not of a page: page-aligned buffers would share few cache sets.
    MESSAGE_BYTES = 65536 + 128
    MESSAGES_COUNT = 32
    MESSAGES_MOST = 256


cdef BufferPool make_stream_pool(Ring ring):
    """The pool for the receives of streams."""
    return BufferPool(ring, group=STREAM_GROUP)


cdef BufferPool make_message_pool(Ring ring):
    """The pool for datagrams: each datagram must fit into one buffer."""
    return BufferPool(ring, MESSAGES_COUNT, MESSAGE_BYTES, MESSAGES_MOST, MESSAGE_GROUP)


@cython.final
cdef class BufferPool:
    """Receive buffers from which the driver picks one when data arrives.

    The pool is one ring of provided buffers (io_uring: Linux 5.19). The operation that
    gets a completion copies the bytes out and gives the buffer back at once, so that
    few buffers are needed and these stay in the processor's cache. `grow` adds one
    buffer, up to `most`. Called for each completion with ENOBUFS, it makes the pool as
    large as the greatest number of buffers that were in use at a time.
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
        """Add `count` buffers to the ring."""
        cdef unsigned i
        for i in range(count):
            io_uring_buf_ring_add(
                self.entries, self.memory + <size_t>self.count * self.buffer_bytes,
                self.buffer_bytes, <unsigned short>self.count, self.mask, i)
            self.count += 1
        io_uring_buf_ring_advance(self.entries, count)

    cdef BufferPool again(self, Ring ring):
        """An empty pool of the same shape for another ring."""
        return BufferPool(ring, 0, self.buffer_bytes, self.most, self.group)

    cdef int take_over(self, BufferPool old, dict held) except -1:
        """Provide as many buffers as the old pool, which has the same shape.

        `held` maps the number of each buffer whose completion has not been reaped to
        the size of its data. Its data is copied to the buffer of the same number, which
        is provided when the completion's owner gives it back.
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
        """Add one buffer; False if the pool has reached its limit."""
        if self.count == self.most:
            return False
        self.provide(1)
        return True

    cpdef bytes take(self, unsigned flags, Py_ssize_t size):
        """Copy the bytes of a completion with these flags and give its buffer back."""
        try:
            return PyBytes_FromStringAndSize(self.borrow(flags), size)
        finally:
            self.give_back(flags)

    cdef char *borrow(self, unsigned flags) noexcept:
        """The memory of the buffer named by the flags; `give_back` returns it."""
        # Arithmetic only: cannot raise.
        return (self.memory
                + <size_t>(flags >> IORING_CQE_BUFFER_SHIFT) * self.buffer_bytes)

    cdef void give_back(self, unsigned flags) noexcept:
        # Stores only: cannot raise. In a forked child the memory is not mapped.
        if self.fork_mark != fork_mark_now():
            return
        io_uring_buf_ring_add(
            self.entries, self.borrow(flags), self.buffer_bytes,
            <unsigned short>(flags >> IORING_CQE_BUFFER_SHIFT), self.mask, 0)
        io_uring_buf_ring_advance(self.entries, 1)

    def __dealloc__(self):
        if self.fork_mark != fork_mark_now():
            # A forked child may have mapped other memory at these addresses.
            return
        if self.entries != NULL:
            munmap(self.entries, self.most * sizeof(io_uring_buf))
        if self.memory != NULL:
            munmap(self.memory, <size_t>self.most * self.buffer_bytes)


cdef void *map_private(size_t size) except NULL:
    """Map zeroed pages that a forked child does not inherit."""
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if memory == MAP_FAILED:
        raise MemoryError
    madvise(memory, size, MADV_DONTFORK)
    return memory
