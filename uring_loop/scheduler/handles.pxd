cdef class TimerHandle


cdef class HandleOwner:
    cdef bint debug
    # Does a subclass or a patch override `_timer_handle_cancelled`?
    cdef bint has_cancel_override
    cdef public Py_ssize_t _timer_cancelled_count
    # threading.get_ident() of the thread that runs the loop, or 0.
    cdef unsigned long runner

    cdef int vacate_timer(self, TimerHandle handle) except -1
    cdef int retime_timer(self) except -1
    cdef bint is_elsewhere(self) noexcept


cdef class Handle:
    # asyncio's tools and debug output read these names: see docs/stdlib-hooks.md.
    cdef public object _callback
    cdef public tuple _args
    cdef public object _context
    cdef public object _loop
    cdef public object _source_traceback
    cdef public object _repr
    cdef public bint _cancelled
    cdef object __weakref__


cdef class TimerHandle(Handle):
    cdef double due_at
    # The argument of call_at() if it was not a float: `when()` returns it.
    cdef object given
    cdef public bint _scheduled
    # The handle's index in the heap to which it was pushed last: see timer_heap.pyx.
    cdef Py_ssize_t place


cdef int run_handle(Handle handle) except -1
cdef int report_callback(Handle handle, callback, args, exc) except -1
