"""A ring, and the operations in flight on it.

This module does not know asyncio. Three rules apply to all its users:

1. Memory that the driver may access belongs to an `Operation`. The ring's ledger holds
   the operation from the time its entry is queued to its last completion (the one
   without IORING_CQE_F_MORE). `user_data` is the operation's address.
2. Cancelling is a request. The operation ends with its own last completion.
3. A completion is copied and its slot is freed before `complete` is called. `complete`
   may prepare and cancel operations, but never enters and never reaps.
"""

cimport cython
from cpython.object cimport PyObject
from libc.errno cimport (
    EAGAIN, EBADFD, EBUSY, EEXIST, EINTR, EINVAL, ENOMEM, ENOSYS, ETIME)
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

import os
import time

from uring_loop.driver.capi cimport PyErr_CheckSignals
from uring_loop.driver.options import check_driver, check_taskrun
from uring_loop.driver.uapi cimport *

# (flags removed, flags used instead, names of the removed flags, first kernel that has
# them): the ladder, top rung first. EINVAL steps down one rung.
LADDER = (
    (IORING_SETUP_NO_SQARRAY, 0, "NO_SQARRAY", "6.6"),
    (IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, "DEFER_TASKRUN", "6.1"),
    (IORING_SETUP_SINGLE_ISSUER, 0, "SINGLE_ISSUER", "6.0"),
    (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0,
     "COOP_TASKRUN|TASKRUN_FLAG", "5.19"),
    (IORING_SETUP_SUBMIT_ALL, 0, "SUBMIT_ALL", "5.18"),
)
FLAG_NAMES = {
    IORING_SETUP_CQSIZE: "CQSIZE",
    IORING_SETUP_CLAMP: "CLAMP",
    IORING_SETUP_R_DISABLED: "R_DISABLED",
    IORING_SETUP_SUBMIT_ALL: "SUBMIT_ALL",
    IORING_SETUP_COOP_TASKRUN: "COOP_TASKRUN",
    IORING_SETUP_TASKRUN_FLAG: "TASKRUN_FLAG",
    IORING_SETUP_SINGLE_ISSUER: "SINGLE_ISSUER",
    IORING_SETUP_DEFER_TASKRUN: "DEFER_TASKRUN",
    IORING_SETUP_NO_SQARRAY: "NO_SQARRAY",
}
TASKRUN_FLAGS = {
    "defer": IORING_SETUP_DEFER_TASKRUN,
    "coop": IORING_SETUP_COOP_TASKRUN,
}
NEEDED_OPCODES = (IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_READ,
                  IORING_OP_RECV)
cdef enum:
    # struct io_uring_probe with an entry for each of the 256 possible opcodes.
    PROBE_BYTES = 16 + 256 * 8
SMALLEST_SQ_ENTRIES = 8
# Retries after ENOMEM, each with half the entries down to the smallest.
ENOMEM_RETRIES = 12
# The kernel credits a closed ring's memory to RLIMIT_MEMLOCK 8 to 20 ms after close().
MEMLOCK_DELAY_SECONDS = 0.01
DRAIN_SECONDS = 2

cdef unsigned long fork_count = 0


def _note_fork():
    global fork_count
    fork_count += 1


os.register_at_fork(after_in_child=_note_fork)


cdef unsigned long fork_mark_now() noexcept:
    """A number that differs between a process and its forked children."""
    # A load: cannot raise.
    return fork_count


cpdef object os_error(int res):
    """The OSError (or its subclass) for a result of -errno."""
    return OSError(-res, os.strerror(-res))


cdef class Operation:
    """One request to the driver. Its owner may prepare it again after each end."""

    cdef int prepare(self, io_uring_sqe *sqe) except -1:
        """Fill the entry, except user_data, which the ring writes."""
        raise NotImplementedError

    cdef int complete(self, int res, unsigned flags) except -1:
        """Handle a completion. May raise KeyboardInterrupt and SystemExit only."""
        raise NotImplementedError

    cdef bint abandoned(self) except -1:
        """Called when the ring was closed before the last completion, so that the
        kernel may still access the operation's memory. True: the operation can be
        prepared on another ring; False: the operation has ended."""
        return True

    cdef int moved(self) except -1:
        """Called when the operation is prepared on another ring and the old one is
        closed."""
        return 0

    cdef int buffer_group(self) noexcept:
        """The buffer group of the operation's completions; -1: no provided buffers."""
        # A constant: cannot raise.
        return -1

    def __repr__(self):
        state = "in flight" if self.in_flight else "idle"
        if self.cancel_requested:
            state += ", cancel requested"
        return f"<{type(self).__name__} {state}>"


@cython.final
cdef class Ring:
    """Two queues, the driver that serves them, and a ledger of operations in flight.

    driver       "io_uring": the kernel; "epoll": our own code on one epoll set, which
                 serves the same entries (include/uring_epoll.h) and ignores the options
                 from `taskrun` on
    sq_entries   size of the submission queue, a power of two; halved while the
                 kernel answers ENOMEM (RLIMIT_MEMLOCK)
    cq_entries   size of the completion queue; default 4 * sq_entries
    taskrun      "defer" (DEFER_TASKRUN) or "coop" (COOP_TASKRUN)
    single_issuer  whether SINGLE_ISSUER is requested, which "defer" needs
    disabled     create the ring with R_DISABLED: `enable` makes the calling thread the
                 single issuer; entries are submitted only afterwards
    restrict     True or "files": the kernel refuses what sockets (or files) do not use
    known_flags  set-up flags outside this mask give EINVAL without a system call, as on
                 an older kernel

    `flags` are the set-up flags granted; `refused` maps the name of each other flag to
    the reason. Raises OSError with the errno of the set-up.
    """

    def __cinit__(self, *, str driver="io_uring", unsigned sq_entries=256,
                  unsigned cq_entries=0, str taskrun="defer",
                  bint single_issuer=True, bint disabled=False,
                  object restrict=False, unsigned known_flags=0xFFFFFFFF):
        cdef unsigned flags = (
            IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG
            | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
        self.closed = True
        self.refused = {}
        self.known_flags = known_flags
        self.fork_mark = fork_count
        self.tell_fd = -1
        self.restricted = False
        self.driver = driver
        self.holds_files = driver == "io_uring"
        check_driver(driver)
        check_taskrun(taskrun, single_issuer)
        if not self.holds_files:
            self.open_epoll(sq_entries, cq_entries or 4 * sq_entries)
            return
        flags |= TASKRUN_FLAGS[taskrun]
        flags |= IORING_SETUP_R_DISABLED if disabled or restrict else 0
        if single_issuer:
            flags |= IORING_SETUP_SINGLE_ISSUER
        else:
            self.refused["SINGLE_ISSUER"] = "not asked for: single_issuer=False"
        self.negotiate_flags(sq_entries, cq_entries or 4 * sq_entries, flags)
        self.closed = False
        self.enabled = not flags & IORING_SETUP_R_DISABLED
        self.owner = uring_thread_token() if self.enabled else 0
        self.check_kernel()
        if restrict:
            self.restrict(restrict, disabled)

    cdef int restrict(self, object wanted, bint disabled) except -1:
        """Restrict the ring, which is disabled yet, to what the loop uses."""
        res = uring_restrict(&self.ring, self.known_opcodes, wanted == "files")
        if res < 0:
            self.close()
            raise os_error(res)
        self.restricted = wanted
        return 0 if disabled else self.enable()

    cdef int open_epoll(self, unsigned entries, unsigned cq_entries) except -1:
        res = uring_epoll_queue_init(entries, cq_entries, &self.ring)
        if res < 0:
            raise os_error(res)
        self.flags = self.ring.flags
        self.closed = False
        self.enabled = True
        self.owner = uring_thread_token()
        self.check_kernel()
        return 0

    cdef int negotiate_flags(self, unsigned entries, unsigned cq_entries,
                        unsigned flags) except -1:
        """Create the ring with as many of the flags as this kernel supports."""
        cdef io_uring_params params
        cdef int res
        for given_up, instead, name, version in ((0, 0, "", ""), *LADDER):
            if given_up and not flags & given_up:
                continue
            if given_up:
                self.refused[name] = f"EINVAL from this kernel (needs Linux {version})"
                flags = (flags & ~<unsigned>given_up) | <unsigned>instead
            memset(&params, 0, sizeof(params))
            params.flags = flags
            res = self.create(entries, cq_entries, &params)
            if res == 0:
                self.flags = params.flags
                return 0
            if res != -EINVAL:
                break
        raise os_error(res)

    cdef int create(self, unsigned entries, unsigned cq_entries,
                    io_uring_params *params) except? -1:
        """One rung of the ladder: 0 or -errno. ENOMEM is retried with fewer entries."""
        cdef unsigned flags = params.flags
        cdef int retries = ENOMEM_RETRIES
        cdef int res = -EINVAL
        if flags & ~self.known_flags:
            return res
        while True:
            memset(params, 0, sizeof(io_uring_params))
            params.flags = flags
            params.cq_entries = cq_entries
            res = io_uring_queue_init_params(entries, &self.ring, params)
            if res != -ENOMEM or not retries:
                return res
            retries -= 1
            time.sleep(MEMLOCK_DELAY_SECONDS)
            if entries > SMALLEST_SQ_ENTRIES:
                entries //= 2
                cq_entries = max(cq_entries // 2, 2 * entries)

    cdef int check_kernel(self) except -1:
        """Probe for the operations, and for a seccomp filter that allows the set-up and
        forbids io_uring_enter or io_uring_register."""
        cdef char memory[PROBE_BYTES]
        cdef io_uring_probe *probe = <io_uring_probe *>memory
        cdef unsigned opcode
        memset(memory, 0, sizeof(memory))
        res = io_uring_register_probe(&self.ring, probe, 256)
        if res == 0:
            for opcode in range(probe.ops_len):
                self.known_opcodes[opcode] = (
                    probe.ops[opcode].flags & IO_URING_OP_SUPPORTED)
            if not all(map(self.has_opcode, NEEDED_OPCODES)):
                res = -ENOSYS
        if res == 0:
            res = io_uring_submit(&self.ring)
            if not self.enabled and res == -EBADFD:
                # A disabled ring answers EBADFD to an enter that is permitted.
                res = 0
        if res < 0:
            self.close()
            raise os_error(res)
        return 0

    cdef void forget_fd(self, int fd) noexcept:
        """Drop the driver's state of a descriptor: the caller is about to close it, or
        has begun to use a new file under this number."""
        # System calls only: cannot raise. io_uring keeps no state by number; after a
        # fork the epoll set belongs to the parent.
        if not self.closed and not self.is_forked():
            uring_forget_fd(&self.ring, fd)

    cdef void continue_counts(self, Ring other) noexcept:
        """Take over the counters of the ring that this one replaces."""
        # Assignments only: cannot raise.
        self.enter_count = other.enter_count
        self.completion_count = other.completion_count
        self.full_count = other.full_count

    cpdef bint has_opcode(self, unsigned char opcode) noexcept:
        """Does the driver serve the operation?"""
        # A load: cannot raise.
        return self.known_opcodes[opcode]

    @property
    def sq_entries(self):
        """Size of the submission queue that was granted."""
        return self.ring.sq.ring_entries

    @property
    def cq_entries(self):
        """Size of the completion queue that was granted."""
        return self.ring.cq.ring_entries

    @property
    def flag_names(self):
        """Names of the set-up flags that the kernel granted; none on epoll."""
        if not self.holds_files:
            return ()
        return tuple(name for bit, name in FLAG_NAMES.items() if self.flags & bit)

    def fileno(self):
        """The ring's descriptor. On epoll this is the epoll set, which a host may poll;
        on io_uring it must not be polled, see docs/kernel.md."""
        return self.ring.ring_fd

    def __repr__(self):
        state = ("closed" if self.closed else
                 "enabled" if self.enabled else "disabled")
        words = [self.driver, state, "|".join(self.flag_names)]
        return (f"<Ring {' '.join(filter(None, words))} "
                f"{self.in_flight_count} in flight>")

    # ---- ledger ---------------------------------------------------------------

    cdef void link(self, Operation op) noexcept:
        # Nothing here can raise: assignments only.
        if self.ledger_first is not None:
            self.ledger_first.ledger_previous = <PyObject *>op
        op.ledger_next = self.ledger_first
        op.ledger_previous = NULL
        self.ledger_first = op
        op.in_flight = True
        op.cancel_requested = False
        self.in_flight_count += 1

    cdef void unlink(self, Operation op) noexcept:
        # Nothing here can raise: assignments only.
        cdef Operation follower = op.ledger_next
        if op.ledger_previous == NULL:
            self.ledger_first = follower
        else:
            (<Operation>op.ledger_previous).ledger_next = follower
        if follower is not None:
            follower.ledger_previous = op.ledger_previous
        op.ledger_next = None
        op.ledger_previous = NULL
        op.in_flight = False
        self.in_flight_count -= 1

    cdef void adopt(self, Operation op) noexcept:
        """Enter an operation of an abandoned ring into the ledger; keep its state."""
        # Assignments only: cannot raise.
        cdef bint cancel_requested = op.cancel_requested
        self.link(op)
        op.cancel_requested = cancel_requested

    cdef int prepare_adopted(self, Operation op) except -1:
        """Queue an adopted operation; the next enter submits it."""
        return self.fill(self.next_entry(), op)

    def in_flight(self):
        """The operations whose last completion has not been reaped, newest first."""
        operations = []
        cdef Operation op = self.ledger_first
        while op is not None:
            operations.append(op)
            op = op.ledger_next
        return operations

    # ---- submission -----------------------------------------------------------

    cdef int check_usable(self) except -1:
        if self.closed:
            raise RuntimeError("the ring is closed")
        if self.is_forked():
            raise RuntimeError(
                "this loop was made before fork(): its ring belongs to the parent "
                "process; make a new event loop in the child")
        return 0

    cdef bint is_forked(self) noexcept:
        """Was the ring made by the parent of this forked process?"""
        # Compares numbers: cannot raise.
        return self.fork_mark != fork_count

    cdef bint is_mine(self) noexcept:
        """May the calling thread use the ring?"""
        # Compares numbers: cannot raise.
        return (self.enabled and not self.closed and not self.is_forked()
                and self.owner == uring_thread_token())

    cdef int change_owner(self) except -1:
        """Make the calling thread the ring's owner. Only the epoll driver allows it: an
        io_uring instance is bound to one thread for ever."""
        self.check_usable()
        assert not self.holds_files
        self.owner = uring_thread_token()
        return 0

    cpdef int enable(self) except -1:
        """Make the calling thread the single issuer of a ring made disabled."""
        self.check_usable()
        if not self.enabled:
            res = io_uring_enable_rings(&self.ring)
            if res < 0:
                raise os_error(res)
            self.enabled = True
            self.owner = uring_thread_token()
        return 0

    cdef io_uring_sqe *next_entry(self) except NULL:
        cdef io_uring_sqe *sqe = NULL
        self.check_usable()
        if not self.parked.count:
            sqe = io_uring_get_sqe(&self.ring)
        if sqe == NULL:
            sqe = self.entry_when_full()
        if self.tell_fd >= 0:
            os.eventfd_write(self.tell_fd, 1)
            self.tell_fd = -1
        return sqe

    cdef io_uring_sqe *entry_when_full(self) except NULL:
        cdef io_uring_sqe *sqe = NULL
        if (self.enabled and self.owner != uring_thread_token()
                and self.flags & IORING_SETUP_SINGLE_ISSUER):
            # Only the ring's own thread may submit. Either that thread runs the loop
            # again, or another one does and prepares all operations on a new ring.
            sqe = uring_park(&self.parked)
            if sqe == NULL:
                raise MemoryError
            return sqe
        self.unpark()
        sqe = io_uring_get_sqe(&self.ring)
        if sqe == NULL:
            self.make_room()
            sqe = io_uring_get_sqe(&self.ring)
            if sqe == NULL:
                raise os_error(-EAGAIN)
        return sqe

    cdef int unpark(self) except -1:
        while uring_unpark(&self.parked, &self.ring):
            self.make_room()
        return 0

    cdef int make_room(self) except -1:
        """Submit the entries of a full queue, so that callers never see a full one."""
        self.enable()
        for _ in range(100):
            # Without GETEVENTS: this may run inside reap(), and only enter() may post
            # completions.
            res = io_uring_submit(&self.ring)
            if res > 0:
                return 0
            self.check_result(res)
            time.sleep(MEMLOCK_DELAY_SECONDS)
        raise os_error(-EAGAIN)

    cdef int fill(self, io_uring_sqe *sqe, Operation op) except -1:
        try:
            op.prepare(sqe)
        except BaseException:
            # The entry has been handed out and holds old fields: make it a NOP.
            io_uring_prep_nop(sqe)
            raise
        io_uring_sqe_set_data64(sqe, <uint64_t><uintptr_t><void *>op)
        return 0

    cpdef int prepare(self, Operation op) except -1:
        """Queue an idle operation; the next enter submits it."""
        if op is None:
            raise TypeError("an Operation is needed, not None")
        if op.in_flight:
            raise RuntimeError(f"already in flight: {op!r}")
        self.fill(self.next_entry(), op)
        self.link(op)
        return 0

    cpdef int cancel(self, Operation op) except -1:
        """Request the end of an operation, which its last completion confirms."""
        cdef io_uring_sqe *sqe
        if op is None:
            raise TypeError("an Operation is needed, not None")
        if not op.in_flight or op.cancel_requested:
            return 0
        sqe = self.next_entry()
        io_uring_prep_cancel64(sqe, <uint64_t><uintptr_t><void *>op, 0)
        self.skip_answer(sqe)
        op.cancel_requested = True
        return 0

    cdef void skip_answer(self, io_uring_sqe *sqe) noexcept:
        """Post no completion for this entry: that of the cancelled operation
        suffices."""
        # A store: cannot raise. Kernels before 5.17 post one all the same; its
        # user_data is 0, which reap ignores.
        if self.flags & IORING_SETUP_SUBMIT_ALL:
            sqe.flags |= IOSQE_CQE_SKIP_SUCCESS

    cpdef bint need_wait(self) noexcept:
        """May `enter` find work: completions, task work, unsubmitted entries? Makes no
        system call. On epoll it is true as long as any request is armed."""
        # Cannot raise. After a fork the memory is not mapped, and enter() raises.
        if self.closed or self.is_forked():
            return True
        # A kernel before 5.19 has no TASKRUN_FLAG and posts without an enter.
        return self.parked.count or uring_need_wait(&self.ring)

    cpdef bint has_work(self) noexcept:
        """Would `enter` find work? Unlike `need_wait`, exact: on epoll it makes a
        system call. A registration that no request wants counts as work: an enter
        removes it."""
        # System calls and loads: cannot raise.
        if self.closed or self.is_forked():
            return True
        return self.parked.count or uring_spin_look(&self.ring)

    cpdef int enter(self, bint wait, int64_t timeout_ns=-1) except -1:
        """Submit, and with `wait` sleep until a completion is posted.

        timeout_ns < 0 sleeps without limit. A signal also ends the sleep; its Python
        handler runs before the return. The GIL is released during the sleep.
        """
        cdef __kernel_timespec ts
        cdef __kernel_timespec *limit = NULL
        cdef int res
        self.check_usable()
        self.enter_count += 1
        if self.parked.count:
            self.unpark()
        if not wait:
            res = io_uring_submit_and_get_events(&self.ring)
        else:
            if timeout_ns >= 0:
                ts.tv_sec = timeout_ns // 1_000_000_000
                ts.tv_nsec = timeout_ns % 1_000_000_000
                limit = &ts
            # Other threads run while this one sleeps.
            with nogil:
                res = uring_submit_and_wait(&self.ring, 1, limit)
            # After submitting entries the kernel does not report EINTR: always check.
            PyErr_CheckSignals()
        return self.check_result(res)

    cdef int check_result(self, int res) except -1:
        """Raise for an error of enter that a later enter would not clear."""
        # EAGAIN, EBUSY: memory or queue space is short; the next enter tries again.
        if res >= 0 or -res in (ETIME, EINTR, EAGAIN, EBUSY):
            return 0
        if res == -EEXIST:
            raise RuntimeError(
                "the ring belongs to another thread (SINGLE_ISSUER): "
                "only the thread that runs the loop may use it")
        raise os_error(res)

    # ---- completion -----------------------------------------------------------

    cpdef int reap(self, unsigned limit) except -1:
        """Hand at most `limit` completions to their operations; returns their number.

        Completions posted after the start stay in the queue, so that a flood of them
        cannot starve timers.
        """
        cdef unsigned left
        cdef unsigned done = 0
        self.check_usable()
        left = io_uring_cq_ready(&self.ring)
        self.full_count += left == self.ring.cq.ring_entries
        left = min(limit, left)
        while done < left and not self.closed:
            done += 1
            self.reap_one()
        return done

    cpdef Operation reap_one(self):
        """Hand over the next completion and return its operation; None for a completion
        without an operation, such as that of a cancel."""
        cdef io_uring_cqe cqe
        cdef Operation op
        self.check_usable()
        if not uring_pop(&self.ring, &cqe) or cqe.user_data == 0:
            return None
        self.completion_count += 1
        op = <Operation><void *><uintptr_t>cqe.user_data
        if not cqe.flags & IORING_CQE_F_MORE:
            self.unlink(op)
        op.complete(cqe.res, cqe.flags)
        return op

    cdef bint has_overflow(self) noexcept:
        """Do completions wait outside a full queue?"""
        # A load: cannot raise.
        return (not self.closed and not self.is_forked()
                and io_uring_cq_has_overflow(&self.ring))

    cdef bint holds(self, Operation op) noexcept:
        """Is the operation in flight and its last completion not yet posted?"""
        # Loads only: cannot raise.
        return (op is not None and op.in_flight
                and (self.closed or self.is_forked()
                     or uring_last_cqe(
                         &self.ring, <uint64_t><uintptr_t><void *>op) == NULL))

    cdef int posted_result(self, Operation op) noexcept:
        """The result of the operation's last completion if that is posted and not yet
        reaped, else 0."""
        # Loads only: cannot raise.
        cdef const io_uring_cqe *cqe = NULL
        if (op is not None and op.in_flight and not self.closed
                and not self.is_forked()):
            cqe = uring_last_cqe(&self.ring, <uint64_t><uintptr_t><void *>op)
        return 0 if cqe == NULL else cqe.res

    @property
    def completions_count(self):
        """The number of completions in the queue."""
        if self.closed or self.is_forked():
            return 0
        return io_uring_cq_ready(&self.ring)

    cdef int tell_events_to(self, int fd) except -1:
        """Have the kernel write to this eventfd when a completion is due; -1 ends that.
        Only the issuer may call this."""
        cdef int res
        if fd < 0:
            res = io_uring_unregister_eventfd(&self.ring)
        else:
            res = io_uring_register_eventfd(&self.ring, fd)
        if res < 0:
            raise os_error(res)
        return 0

    # ---- the end --------------------------------------------------------------

    cpdef list abandon(self):
        """Close without waiting; returns the operations that were in flight.

        For a ring whose issuer has ended or is another thread: the kernel accepts no
        entry from the caller. It ends the requests by itself a few milliseconds later.
        The caller prepares the returned operations on another ring or ends them.
        """
        operations = self.in_flight()
        for op in operations:
            self.unlink(op)
        if not self.closed:
            self.closed = True
            if not self.holds_files or not self.is_forked():
                io_uring_queue_exit(&self.ring)
            else:
                os.close(self.ring.ring_fd)
        return operations

    cdef int drain(self) except -1:
        cdef Operation op
        deadline = time.monotonic_ns() + DRAIN_SECONDS * 1_000_000_000
        while self.in_flight_count and time.monotonic_ns() < deadline:
            # In each round: a completion may have prepared another operation.
            for op in self.in_flight():
                self.cancel(op)
            self.enter(True, DRAIN_SECONDS * 100_000_000)
            self.reap(0xFFFFFFFF)
        return 0

    cpdef list close(self):
        """Cancel all operations, wait for their last completions, release the memory.

        Returns the operations that did not complete, whose memory must not be freed;
        normally the list is empty. A thread that is not the issuer cannot wait. An
        error of the kernel that ended the wait is in `close_error`.
        """
        if self.closed:
            return []
        if not self.holds_files and not self.is_forked():
            self.change_owner()
        try:
            if self.is_mine():
                self.drain()
        except OSError as exc:
            self.close_error = exc
        return self.abandon()

    def __del__(self):
        # Also empties the ledger: freeing a long chain of operations recursively would
        # exhaust the stack.
        self.abandon()

    def __dealloc__(self):
        free(self.parked.sqes)
