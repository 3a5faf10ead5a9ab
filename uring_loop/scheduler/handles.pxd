cdef class HandleOwner:
    cdef bint debug
    # Does a subclass or a test want to hear of each timer that is cancelled?
    cdef bint has_cancel_override
    cdef public Py_ssize_t _timer_cancelled_count


cdef class Handle:
    # Names that asyncio's tools and debug output read: docs/stdlib-hooks.md.
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
    # What call_at() was given if it was no float: shown as it came.
    cdef object given
    cdef public bint _scheduled


cdef int run_handle(Handle handle) except -1
cdef int report_callback(Handle handle, callback, args, exc) except -1
