from uring_loop.net.address cimport RawName
from uring_loop.net.stream cimport StreamTransport
from uring_loop.scheduler.loop_core cimport LoopCore
from uring_loop.scheduler.watch cimport Waiter


cdef class Listener(Waiter):
    cdef LoopCore loop
    cdef object sock
    cdef object protocol_factory
    cdef object server
    # Each connection gets a copy of it. With `shares_context` all callbacks of the
    # connection run in that copy.
    cdef object context
    cdef bint shares_context
    cdef dict serving
    cdef int fd
    # Attributes of accepted sockets. The socket module makes an enum at each access.
    cdef int family
    cdef int kind
    cdef int proto
    # The most connections to accept per report.
    cdef Py_ssize_t backlog
    cdef bint wanted
    # The number of reports in a row that brought one connection; the number after which
    # the listener yields one (0: the socket is not known to be shared); the turns given
    # in vain since that number was set; WatchSet.empty_polls_count at the last check.
    cdef int wins
    cdef int wins_limit
    cdef int vain_turns
    cdef unsigned long empty_polls_seen
    # When the listener's turn began and when that of the others ends; how often the
    # listener still looks at a connection that nobody takes.
    cdef double turn_began
    cdef double turn_ends
    cdef int looks_left

    cdef int accepted(self, int fd, const RawName *peer) except -1
    cdef int make_task(self, int fd, const RawName *peer, shared) except -1
    cdef int make_transport(
        self, StreamTransport transport, int fd, const RawName *peer, shared) except -1
    cdef bint has_other_work(self) except -1
    cdef Py_ssize_t accept_some(self) except -1
    cdef int detect_sharing(self, Py_ssize_t count) except -1
    cdef int presume_sharing(self) except -1
    cdef int yield_turn(self) except -1
    cdef int end_turn(self) except -1
    cdef bint has_connection(self) noexcept
    cdef int failed(self, int error) except -1
