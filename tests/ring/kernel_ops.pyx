"""Operations for the tests of Ring: what the kernel answers goes into Python lists.

Compiled when the tests start (see conftest.py), against the installed package.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int64_t, uint16_t, uint64_t, uint8_t, uintptr_t
from libc.string cimport memset

from uring_loop.driver.buffer_pool cimport BufferPool
from uring_loop.driver.ring cimport Operation, Ring
from uring_loop.driver.uapi cimport *

cdef extern from "uring.h" nogil:
    enum:
        IORING_CQE_F_BUFFER
        IORING_SQ_TASKRUN
        IORING_SQ_CQ_OVERFLOW
        IORING_RESTRICTION_SQE_OP
        IORING_OP_NOP
        IORING_OP_ACCEPT
        IORING_ENTER_GETEVENTS
        URING_SYS_SETUP
        URING_SYS_ENTER
        URING_SYS_REGISTER

    struct ring_sq "io_uring_sq":
        unsigned *kflags
        unsigned *ktail
        io_uring_sqe *sqes

    struct ring_cq "io_uring_cq":
        io_uring_cqe *cqes

    struct io_uring_restriction:
        uint16_t opcode
        uint8_t sqe_op

    struct io_uring_buf_ring_tail "io_uring_buf_ring":
        uint16_t tail

    void io_uring_prep_nop(io_uring_sqe *sqe)
    void io_uring_prep_recv(
        io_uring_sqe *sqe, int sockfd, void *buf, size_t len, int flags)
    void io_uring_prep_rw(int op, io_uring_sqe *sqe, int fd, const void *addr,
                          unsigned len, uint64_t offset)
    unsigned io_uring_flush_sq(io_uring *ring)
    int io_uring_enter2(int fd, unsigned to_submit, unsigned min_complete,
                        unsigned flags, void *arg, size_t size)
    int io_uring_register_eventfd(io_uring *ring, int event_fd)
    int io_uring_unregister_eventfd(io_uring *ring)
    int io_uring_register_restrictions(
        io_uring *ring, io_uring_restriction *res, unsigned nr)
    int io_uring_register_ring_fd(io_uring *ring)
    int io_uring_unregister_ring_fd(io_uring *ring)
    int io_uring_unregister_buf_ring(io_uring *ring, int bgid)

# What our header has no use for.
cdef enum:
    IORING_OP_TIMEOUT = 11
    IORING_OP_MSG_RING = 40
    IOSQE_ASYNC = 1 << 4

SYS_SETUP = URING_SYS_SETUP
SYS_ENTER = URING_SYS_ENTER
SYS_REGISTER = URING_SYS_REGISTER
F_MORE = IORING_CQE_F_MORE
F_BUFFER = IORING_CQE_F_BUFFER
SQ_TASKRUN = IORING_SQ_TASKRUN
SQ_CQ_OVERFLOW = IORING_SQ_CQ_OVERFLOW
CQSIZE = IORING_SETUP_CQSIZE
CLAMP = IORING_SETUP_CLAMP
R_DISABLED = IORING_SETUP_R_DISABLED
SUBMIT_ALL = IORING_SETUP_SUBMIT_ALL
COOP_TASKRUN = IORING_SETUP_COOP_TASKRUN
TASKRUN_FLAG = IORING_SETUP_TASKRUN_FLAG
SINGLE_ISSUER = IORING_SETUP_SINGLE_ISSUER
DEFER_TASKRUN = IORING_SETUP_DEFER_TASKRUN
NO_SQARRAY = IORING_SETUP_NO_SQARRAY
OP_ACCEPT = IORING_OP_ACCEPT


@cython.final
cdef class Recorded(Operation):
    """An operation made of an entry filled beforehand; it writes down what it hears.

    heard   (res, more) of every completion
    data    the bytes of those that came with a pool buffer
    held    flags of buffers not given back, if `hold` is set
    then    called with (operation, res, more) after all that
    memory  what the kernel writes to, if it is not a pool's
    """

    cdef object __weakref__
    cdef io_uring_sqe entry
    cdef __kernel_timespec limit
    cdef BufferPool pool
    cdef int fd
    cdef readonly bytearray memory
    cdef readonly list heard
    cdef readonly list data
    cdef readonly list held
    cdef public object then
    cdef public bint hold
    cdef public bint spoiled

    def __cinit__(self):
        memset(&self.entry, 0, sizeof(self.entry))
        self.heard = []
        self.data = []
        self.held = []

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        if self.spoiled:
            raise ZeroDivisionError("this operation cannot be prepared")
        sqe[0] = self.entry
        return 0

    cdef int complete(self, int res, unsigned flags) except -1:
        cdef bint more = flags & IORING_CQE_F_MORE
        self.heard.append((res, more))
        if flags & IORING_CQE_F_BUFFER:
            if self.hold:
                self.held.append((res, flags))
            else:
                self.data.append(self.pool.take(flags, res))
        if self.then is not None:
            self.then(self, res, more)
        return 0

    def take_held(self):
        """Give the held buffers back and return their bytes."""
        data = [self.pool.take(flags, res) for res, flags in self.held]
        self.held.clear()
        return b"".join(data)

    @property
    def bytes(self):
        return b"".join(self.data)


def nop():
    cdef Recorded op = Recorded()
    io_uring_prep_nop(&op.entry)
    return op


def invalid():
    """An entry that the kernel refuses: no such opcode."""
    cdef Recorded op = Recorded()
    (<uint8_t *>&op.entry)[0] = 255
    return op


def receive(int fd, BufferPool pool not None):
    """Multishot recv into a pool."""
    cdef Recorded op = Recorded()
    op.pool = pool
    io_uring_prep_recv_multishot(&op.entry, fd, NULL, 0, 0)
    op.entry.flags |= IOSQE_BUFFER_SELECT
    op.entry.buf_group = pool.group
    return op


def receive_into(int fd, Py_ssize_t size):
    """One recv into memory of the operation's own."""
    cdef Recorded op = Recorded()
    op.memory = bytearray(size)
    io_uring_prep_recv(&op.entry, fd, PyByteArray_AS_STRING(op.memory), size, 0)
    return op


def read(int fd, Py_ssize_t size):
    """One read of a pipe or an eventfd."""
    cdef Recorded op = Recorded()
    op.memory = bytearray(size)
    io_uring_prep_read(&op.entry, fd, PyByteArray_AS_STRING(op.memory),
                       <unsigned>size, <uint64_t>-1)
    return op


def poll(int fd, unsigned mask):
    cdef Recorded op = Recorded()
    op.fd = fd
    io_uring_prep_poll_add(&op.entry, fd, mask)
    return op


def timeout(int64_t nanoseconds):
    """Ends with ETIME."""
    cdef Recorded op = Recorded()
    op.limit.tv_sec = nanoseconds // 1_000_000_000
    op.limit.tv_nsec = nanoseconds % 1_000_000_000
    io_uring_prep_rw(IORING_OP_TIMEOUT, &op.entry, -1, &op.limit, 1, 0)
    return op


def message(Ring target not None, unsigned res):
    """Post a completion with this result, for nobody, on another ring."""
    cdef Recorded op = Recorded()
    io_uring_prep_rw(IORING_OP_MSG_RING, &op.entry, target.ring.ring_fd, NULL, res, 0)
    return op


def in_worker(Recorded op not None):
    """Have it done by one of the kernel's worker threads (io-wq)."""
    op.entry.flags |= IOSQE_ASYNC
    return op


def accept(int fd):
    """Multishot accept."""
    cdef Recorded op = Recorded()
    io_uring_prep_multishot_accept(&op.entry, fd, NULL, NULL, 0)
    return op


# ---- what Ring keeps to itself ----------------------------------------------


def sq_flags(Ring ring not None):
    """The flags word that the kernel writes into the submission queue."""
    return (<ring_sq *>&ring.ring.sq).kflags[0]


cdef volatile bint in_user_space = False


def spin(Ring ring not None, int64_t limit):
    """Look for a reason to enter as the busy poll does, `limit` times.

    On io_uring that is need_wait(), in user space without any system call. Returns
    (reason, completions to be seen, flags of the queue), looked at in this order.
    """
    cdef bint needed = False
    cdef unsigned ready = 0
    cdef unsigned flags = 0
    global in_user_space
    with nogil:
        in_user_space = True
        while limit and not needed:
            limit -= 1
            needed = uring_spin_look(&ring.ring)
        in_user_space = False
        ready = io_uring_cq_ready(&ring.ring)
        flags = (<ring_sq *>&ring.ring.sq).kflags[0]
    return needed, ready, flags


def is_spinning():
    """Is a thread inside spin(), past its last system call?"""
    return in_user_space


def finish(Ring ring not None, Recorded op not None):
    """Enter and reap until the operation ends, without a step of the interpreter.

    Python would look for signals between two calls; here only enter() itself can.
    """
    while op.in_flight:
        ring.enter(True, -1)
        ring.reap(1000)


def tail(BufferPool pool not None):
    """Index at which the next buffer is provided; 16 bits."""
    return (<io_uring_buf_ring_tail *>pool.entries).tail


def queues(Ring ring not None):
    """Where the two queues and the submission entries are mapped."""
    cdef ring_sq *sq = <ring_sq *>&ring.ring.sq
    return (<uintptr_t>sq.ktail, <uintptr_t>sq.sqes,
            <uintptr_t>(<ring_cq *>&ring.ring.cq).cqes)


def addresses(BufferPool pool not None):
    """Where a pool's ring of entries and its buffers are mapped."""
    return <uintptr_t>pool.entries, <uintptr_t>pool.memory


def forget_fd(Ring ring not None, int fd):
    """Tell the ring that `fd` is closed now, or that its number names a new file."""
    ring.forget_fd(fd)


def raw_enter(Ring ring not None, bint submit, bint get_events):
    """io_uring_enter without our checks: what the kernel answers."""
    cdef unsigned count = io_uring_flush_sq(&ring.ring) if submit else 0
    return io_uring_enter2(ring.ring.ring_fd, count, 0,
                           IORING_ENTER_GETEVENTS if get_events else 0, NULL, 0)


def raw_enter_by_index(Ring ring not None):
    """The same by the index of register_ring_fd(), with GETEVENTS."""
    return io_uring_submit_and_get_events(&ring.ring)


def raw_enable(Ring ring not None):
    return io_uring_enable_rings(&ring.ring)


def register_eventfd(Ring ring not None, int fd):
    return io_uring_register_eventfd(&ring.ring, fd)


def unregister_eventfd(Ring ring not None):
    return io_uring_unregister_eventfd(&ring.ring)


def register_ring_fd(Ring ring not None):
    return io_uring_register_ring_fd(&ring.ring)


def unregister_ring_fd(Ring ring not None):
    return io_uring_unregister_ring_fd(&ring.ring)


def unregister_pool(Ring ring not None, BufferPool pool not None):
    return io_uring_unregister_buf_ring(&ring.ring, pool.group)


def allow_only_nop(Ring ring not None):
    """Restrict a disabled ring to one opcode."""
    cdef io_uring_restriction allowed
    memset(&allowed, 0, sizeof(allowed))
    allowed.opcode = IORING_RESTRICTION_SQE_OP
    allowed.sqe_op = IORING_OP_NOP
    return io_uring_register_restrictions(&ring.ring, &allowed, 1)
