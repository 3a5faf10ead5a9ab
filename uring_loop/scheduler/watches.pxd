from uring_loop.driver.libc cimport epoll_event
from uring_loop.scheduler.handles cimport Handle
from uring_loop.scheduler.loop_core cimport LoopCore, Watcher
from uring_loop.scheduler.watch cimport Waiter, Watch


cdef class WatchSet(Watcher):
    cdef LoopCore loop
    # Descriptor -> Watch, for each registration of the epoll set.
    cdef readonly dict watches
    # The epoll set; -1 if `is_shared`.
    cdef int fd
    # Are the watches in the driver's own set?
    cdef bint is_shared
    # The array for the events of epoll_wait(2), and its length.
    cdef epoll_event *reported
    cdef Py_ssize_t room
    # Watches whose registration has not been checked: see `check_doubtful`.
    cdef list doubtful
    cdef bint has_timer
    cdef unsigned last_generation
    # Does the epoll set hold a registration that cannot be removed?
    cdef bint has_stale
    # Has the last look run a callback or a waiter? A callback of the user? See `look`.
    cdef bint ran_callbacks
    cdef bint ran_handle
    cdef int reports_until_look
    # Reports before the next attempt not to sleep: see `look_shared`.
    cdef int look_interval
    # How often the poll has completed with nothing ready: another process that shares
    # a file was faster.
    cdef bint was_polled
    cdef unsigned long empty_polls_count

    cdef int sleep(self, timeout) except -1
    # For users' handles.
    cdef Handle add(self, fileobj, bint writing, callback, tuple args, context)
    cdef bint remove(self, fileobj, bint writing) except -1
    cdef int remove_handle(self, int fd, bint writing, Handle handle) except -1
    cdef int number(self, fileobj) except -1
    cdef Watch watch_of(self, fileobj)
    # For waiters.
    cdef int wait(self, int fd, bint writing, Waiter waiter, owner,
                  bint trusting) except -1
    cdef int leave(self, int fd, bint writing, Waiter waiter, bint at_once) except -1

    cdef Watch new_watch(self, fileobj, int fd)
    cdef int control(self, int how, Watch watch) noexcept
    cdef int register(self, Watch watch) except -1
    cdef bint is_registered(self, Watch watch) noexcept
    cdef int try_register(self, Watch watch) noexcept
    cdef int fail(self, Watch watch, int error) except -1
    cdef int trim(self, Watch watch) except? -1
    cdef int doubt(self, Watch watch) except -1
    cdef int rebuild(self) except -1
    cdef int ensure_poll(self) except -1
    cdef int make_room(self) except -1
    cdef int arm(self) except -1
    cdef int look_shared(self) except -1
    cdef int call_one(self) except -1
    cdef int call_all(self, int count) except -1
    cdef int trim_reported(self, Watch watch, unsigned events) except -1
    cdef Watch reported_watch(self, int place)
    cdef object take_ready(self, Watch watch, unsigned events, bint writing)
    cdef int call(self, target) except -1
    cdef int run_waiter(self, Waiter waiter) except -1
