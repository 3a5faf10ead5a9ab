from uring_loop.driver.buffer_pool cimport BufferPool
from uring_loop.driver.handover cimport Handover
from uring_loop.driver.ring cimport Operation, Ring
from uring_loop.scheduler.busy_poll cimport AdaptivePoll
from uring_loop.scheduler.callback_watch cimport CallbackWatch
from uring_loop.scheduler.handles cimport Handle, TimerHandle
from uring_loop.scheduler.held_writes cimport HeldWrites
from uring_loop.scheduler.loop_thread cimport LoopThread
from uring_loop.scheduler.timer_heap cimport TimerHeap
from uring_loop.scheduler.wakeup cimport WakeOperation

from libc.stdint cimport int64_t, uint64_t


cdef class Watcher(Operation):
    cdef int look(self) except -1
    cdef int select(self) except -1
    cdef bint is_replaced(self, selector) except -1


cdef class LoopCore(LoopThread):
    # What serves the loop's I/O; None only while the loop is being made.
    # Other threads read it by _present_ring().
    cdef Ring ring
    # Receive buffers for streams, and for datagrams; None until one is needed.
    cdef BufferPool pool
    cdef BufferPool message_pool
    cdef dict ring_options
    # Completions of a ring that the loop has left, not handed out yet.
    cdef Handover inherited
    # (when, ring, pools) that the loop has left, which the kernel may still touch.
    cdef list retired
    cdef WakeOperation wake
    cdef char *bulk_buffer
    cdef object shared_view
    # Who knows of watched descriptors, and whether to ask in this iteration.
    cdef Watcher watcher
    cdef bint watches_due
    # How many reports of watches have callbacks that have not run yet.
    cdef Py_ssize_t reports_left
    # The transports that hold back what has been written: see net/gather.pyx.
    cdef readonly HeldWrites held
    # May receives be multishot here? Off where the kernel said EINVAL.
    cdef public bint multishot

    # A deque of what is ready, and its methods, looked up once.
    cdef object ready
    cdef object push_ready
    cdef object pop_ready
    # (queue, its methods) of those that it has replaced.
    cdef list earlier
    # Timers that this iteration runs last, and how many handles it runs before.
    cdef object due
    cdef object push_due
    cdef object pop_due
    cdef Py_ssize_t todo
    cdef TimerHeap timers
    cdef AdaptivePoll poll
    cdef bint has_time_override
    cdef bint has_select_override
    cdef object debug_as_given
    # Measure each callback? In debug mode, and while telemetry asks for it.
    cdef public bint timed
    cdef readonly CallbackWatch callback_watch

    # Counters of `statistics()`.
    cdef unsigned long step_number
    cdef uint64_t callbacks_count
    cdef uint64_t received_bytes
    cdef uint64_t sent_bytes
    cdef uint64_t accepts_count

    # Fields that the stdlib's BaseEventLoop writes or reads: docs/stdlib-hooks.md.
    cdef public bint _stopping
    cdef public object _task_factory
    cdef public double _clock_resolution
    # The references in `_transports`, asyncio's WeakValueDictionary.
    cdef public dict _transport_refs
    cdef object __weakref__

    cdef Handle call_soon_fast(self, object callback, tuple args, object context)
    cdef TimerHandle add_timer(
        self, double due_at, object given, object callback, tuple args,
        object context)
    cdef int step(self) except -1
    cdef int run_callbacks(self) except -1
    cdef int wait_on_ring(self) except -1
    cdef int poll_ring(self, int64_t timeout) except -1
    cdef int detect_overrides(self) except -1
    cdef double now(self) except? -1
    cdef double timeout(self) except? -2
    cdef int64_t timeout_ns(self) except -2
    cdef int sweep_timers(self) except -1
    cdef int collect_due(self) except -1
    cdef int run_one(self, handle) except -1
    cdef int resume_step(self) except -1
    cdef int begin_run(self) except -1
    cdef int run_slowly(self, handle) except -1
    cdef int reap(self, unsigned limit) except -1
    cdef int reap_slowly(self, Py_ssize_t limit) except -1
    cdef int cancel(self, Operation op) except -1
    cdef int flush_ring(self) except -1
    cdef int keep_overflow(self) except -1
    cdef int bind_to_thread(self) except -1
    cdef int move_ring(self) except -1
    cdef int hand_out_inherited(self) except -1
    cdef bint open_pool(self) except -1
    cdef bint open_message_pool(self) except -1
    cdef int pool_failed(self, exc) except -1
    cdef char *bulk_memory(self) except NULL
    cdef object shared_buffer(self)


cdef enum:
    BULK_BYTES = 262144
