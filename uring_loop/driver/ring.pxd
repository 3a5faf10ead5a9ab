from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from uring_loop.driver.uapi cimport (
    io_uring, io_uring_params, io_uring_sqe, uring_parked)


cdef class Operation:
    # The ledger's links: see Ring. The link back is a borrowed reference, so that the
    # chain of operations has no reference cycles.
    cdef Operation ledger_next
    cdef PyObject *ledger_previous
    cdef readonly bint in_flight
    cdef readonly bint cancel_requested

    cdef int prepare(self, io_uring_sqe *sqe) except -1
    cdef int complete(self, int res, unsigned flags) except -1
    cdef bint abandoned(self) except -1
    cdef int moved(self) except -1
    cdef int buffer_group(self) noexcept


cdef class Ring:
    cdef io_uring ring
    cdef Operation ledger_first
    # Entries of other threads for which the queue had no room.
    cdef uring_parked parked
    cdef unsigned known_flags
    cdef bint known_opcodes[256]
    cdef unsigned long fork_mark
    cdef readonly unsigned flags
    cdef readonly str driver
    cdef readonly dict refused
    # The option `restrict` as far as it is in force: False, True or "files".
    cdef readonly object restricted
    cdef readonly Py_ssize_t in_flight_count
    cdef readonly unsigned long enter_count
    cdef readonly unsigned long completion_count
    cdef readonly unsigned long full_count
    # The OSError that ended the wait of close(), or None.
    cdef readonly object close_error
    # The eventfd to write to when an entry is queued, or -1: see guest_core.pyx.
    cdef int tell_fd
    cdef readonly bint enabled
    cdef readonly bint closed
    cdef readonly unsigned long owner
    # Does a request in flight keep its file open? On io_uring it does.
    cdef readonly bint holds_files

    cdef int restrict(self, object wanted, bint disabled) except -1
    cdef int open_epoll(self, unsigned entries, unsigned cq_entries) except -1
    cdef int negotiate_flags(self, unsigned entries, unsigned cq_entries,
                        unsigned flags) except -1
    cdef int create(self, unsigned entries, unsigned cq_entries,
                    io_uring_params *params) except? -1
    cdef int check_kernel(self) except -1
    cdef void forget_fd(self, int fd) noexcept
    cdef void continue_counts(self, Ring other) noexcept
    cpdef bint has_opcode(self, unsigned char opcode) noexcept
    cdef int check_result(self, int res) except -1
    cdef bint has_overflow(self) noexcept
    cdef bint holds(self, Operation op) noexcept
    cdef int posted_result(self, Operation op) noexcept
    cdef int fill(self, io_uring_sqe *sqe, Operation op) except -1
    cdef int check_usable(self) except -1
    cdef bint is_forked(self) noexcept
    cdef bint is_mine(self) noexcept
    cdef int change_owner(self) except -1
    cdef io_uring_sqe *next_entry(self) except NULL
    cdef io_uring_sqe *entry_when_full(self) except NULL
    cdef int unpark(self) except -1
    cdef int make_room(self) except -1
    cdef void link(self, Operation op) noexcept
    cdef void unlink(self, Operation op) noexcept
    cdef void adopt(self, Operation op) noexcept
    cdef int prepare_adopted(self, Operation op) except -1

    cpdef int enable(self) except -1
    cpdef int prepare(self, Operation op) except -1
    cpdef int cancel(self, Operation op) except -1
    cdef void skip_answer(self, io_uring_sqe *sqe) noexcept
    cpdef bint need_wait(self) noexcept
    cpdef bint has_work(self) noexcept
    cpdef int enter(self, bint wait, int64_t timeout_ns=*) except -1
    cpdef int reap(self, unsigned limit) except -1
    cpdef Operation reap_one(self)
    cdef int tell_events_to(self, int fd) except -1
    cpdef list abandon(self)
    cpdef list close(self)
    cdef int drain(self) except -1


cpdef object os_error(int res)
cdef unsigned long fork_mark_now() noexcept
