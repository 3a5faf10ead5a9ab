from uring_loop.driver.ring cimport Operation
from uring_loop.net.address cimport RawName
from uring_loop.net.gather cimport GatheringWriter
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport LoopCore


cdef class ReadPoll(Operation):
    cdef Transport transport


cdef class WritePoll(Operation):
    cdef Transport transport
    # The context of the write() that began to wait.
    cdef object context


cdef class Transport(GatheringWriter):
    cdef object protocol
    cdef object server
    # The socket object. For an accepted connection None until it is asked for: then
    # it is made from the listener's family, kind and protocol number.
    cdef object sock
    # Does the socket belong to the user, who may close or use it at any time?
    cdef bint user_socket
    # Then the watch set tells when to read and write, if requests hold files.
    cdef bint by_readiness
    # A WritePoll completed without room: the ring's polls always hear POLLRDHUP,
    # POLLHUP and POLLERR. From then on the watch set tells when there is room.
    cdef bint polls_in_vain
    cdef Handle read_watch
    cdef Handle room_watch
    cdef short family
    cdef short kind
    cdef short proto
    # What get_extra_info() answers, beside what the creator gave. Addresses are kept
    # as the kernel gives them until they are asked for.
    cdef object sockname
    cdef object peername
    cdef RawName raw_sockname
    cdef RawName raw_peername
    cdef object socket_for_users
    cdef object given
    cdef object __weakref__
    # Made with the first attribute that a program adds; methods can be patched, too.
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
    # Bytes of the stream are lost: the connection must end.
    cdef bint broken

    # Reading: by a multishot receive, or "in bulk" by a poll and a direct call.
    cdef Operation receive
    cdef ReadPoll bulk
    cdef bint in_bulk
    cdef bint reading_started
    cdef bint paused
    cdef bint eof_seen
    # A deque of what was received before a pause took effect; None: nothing.
    cdef object pending
    # Is _run_delivery() in the ready queue?
    cdef bint delivery_due
    # The context in which the protocol's reading methods are called.
    cdef object context
    # The context of all callbacks, if the creator passed one (Python 3.15); None: each
    # callback has a copy of the context of its cause.
    cdef object own_context

    # In flight while something is unsent.
    cdef WritePoll flush

    cdef Py_ssize_t unsent(self) noexcept
    cdef int drop_unsent(self) except -1
    cdef bint open_pool(self) except -1
    cdef int readable(self) except -1
    cdef int writable(self, int res) except -1

    cdef int open(self, LoopCore loop, sock, protocol, extra, server) except -1
    cdef int read_names(self) except -1
    cdef int take_protocol(self, protocol) except -1
    cdef int attach(self, server) except -1
    cdef int detach(self, server) except -1
    cdef object socket_object(self)
    cdef int close_socket(self) except -1
    cdef int current_fd(self) except -2
    cdef int begin(self, waiter) except -1
    cdef object callback_context(self)
    cdef int begin_close(self) except -1
    cdef bint has_peer(self) noexcept
    cdef bint busy(self) noexcept
    cdef bint wants_data(self) noexcept
    cdef int arm(self) except -1
    cdef int read_on(self) except -1
    cdef int stop_reading(self) except -1
    cdef int schedule_delivery(self) except -1
    cdef int watch_readable(self) except -1
    cdef int unwatch_readable(self) except -1
    cdef int watch_room(self) except -1
    cdef int unwatch_room(self) except -1
    cdef int unwatch(self, Handle handle, bint writing) except -1
    cdef int watch_writable(self) except -1
    cdef int unwatch_writable(self) except -1
    cdef int pause_protocol_if_full(self) except -1
    cdef int resume_protocol_if_drained(self) except -1
    cdef int fatal_error(self, exc, message) except -1
    cdef int force_close(self, exc) except -1
    cdef int lose_connection(self, exc) except -1
    cdef int fail(self, exc, message) except -1
    cdef int fail_raised(self, message) except -1
    cdef int operation_ended(self) except -1


cdef int get_writable(buffer, Py_buffer *view) except -1
