from uring_loop.driver.ring cimport Operation
from uring_loop.net.address cimport RawName
from uring_loop.net.gather cimport PiecemealWriter
from uring_loop.scheduler.loop_core cimport LoopCore


cdef class ReadPoll(Operation):
    cdef Transport transport


cdef class WritePoll(Operation):
    cdef Transport transport
    # In which what waits was written.
    cdef object context


cdef class Transport(PiecemealWriter):
    cdef LoopCore loop
    cdef object protocol
    cdef object server
    # The socket object; None until somebody wants that of an accepted connection,
    # which is made of what is known of the listener.
    cdef object sock
    cdef short family
    cdef short kind
    cdef short proto
    # What get_extra_info() answers, beside what the creator gave. Names are kept as
    # the kernel gives them until somebody asks.
    cdef object sockname
    cdef object peername
    cdef RawName raw_sockname
    cdef RawName raw_peername
    cdef object socket_for_users
    cdef object given
    cdef object __weakref__
    # Made with the first attribute that somebody adds; methods can be patched, too.
    cdef dict __dict__
    cdef int fd
    # Not 0: connection_lost is scheduled or done; then it counts writes in vain.
    cdef Py_ssize_t conn_lost
    # As given, and as they are compared: asyncio takes any kind of number.
    cdef tuple water_marks
    cdef double high_water
    cdef double low_water
    cdef bint socket_closed
    cdef bint closing
    cdef bint protocol_connected
    cdef bint protocol_paused
    # connection_lost() has run: only operations in flight keep the socket open.
    cdef bint finished

    # Reading: by a multishot receive, or "in bulk" by a poll and a direct call.
    cdef Operation receive
    cdef ReadPoll bulk
    cdef bint in_bulk
    cdef bint reading_started
    cdef bint paused
    cdef bint eof_seen
    # What came before a pause took effect; None: nothing.
    cdef object pending
    # In which the protocol is called.
    cdef object context

    # In flight while something is unsent.
    cdef WritePoll flush

    cdef Py_ssize_t unsent(self) noexcept
    cdef int drop_unsent(self) except -1
    cdef bint open_pool(self) except -1
    cdef int readable(self) except -1
    cdef int writable(self, int res) except -1

    cdef int open(self, LoopCore loop, protocol, extra, server) except -1
    cdef int read_names(self) except -1
    cdef int take_protocol(self, protocol) except -1
    cdef int attach(self, server) except -1
    cdef int detach(self, server) except -1
    cdef object socket_object(self)
    cdef int close_socket(self) except -1
    cdef int begin(self, waiter) except -1
    cdef bint has_peer(self) noexcept
    cdef bint busy(self) noexcept
    cdef bint wants_data(self) noexcept
    cdef int arm(self) except -1
    cdef int disarm(self) except -1
    cdef int stop_reading(self) except -1
    cdef int watch_writable(self) except -1
    cdef int pause_protocol_if_full(self) except -1
    cdef int resume_protocol_if_drained(self) except -1
    cdef int fatal_error(self, exc, message) except -1
    cdef int force_close(self, exc) except -1
    cdef int lose_connection(self, exc) except -1
    cdef int protocol_failed(self, method) except -1
    cdef int operation_ended(self) except -1


cdef int get_writable(buffer, Py_buffer *view) except -1
