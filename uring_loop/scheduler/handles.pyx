"""Handle and TimerHandle: a callback with its arguments and its context.

The ready queue and the timer heap, which hold the handles, belong to the loop.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

from asyncio import events

from uring_loop._compat import format_callback
from uring_loop.driver.capi cimport (
    FREE_THREADED, PyContext_Enter_raw, PyContext_Exit, PyObject_CallNoArgs_raw,
    PyObject_Call_raw)


cdef class HandleOwner:
    """The base class of LoopCore with the fields and methods that handles use.

    Without it, this module and `loop_core` would import each other.
    """

    cdef int vacate_timer(self, TimerHandle handle) except -1:
        """Take a cancelled timer out of the heap."""
        raise NotImplementedError

    cdef int retime_timer(self) except -1:
        """Tell the heap that a program has set the time of a timer in it."""
        raise NotImplementedError

    cdef bint is_elsewhere(self) noexcept:
        """Does another thread run the loop?"""
        # Every owner overrides this.
        return False


@cython.freelist(1024)
cdef class Handle:
    """asyncio.Handle's attributes and methods, compiled.

    The class cannot inherit from asyncio.Handle, since each has a memory layout of its
    own, but isinstance(handle, asyncio.Handle) is true.
    """

    @property
    def __class__(self):
        return events.Handle

    def get_context(self):
        return self._context

    def cancel(self):
        if not self._cancelled:
            cancel_handle(self)

    def cancelled(self):
        return self._cancelled

    def _run(self):
        run_handle(self)

    def _repr_info(self):
        return events.Handle._repr_info(self)

    def __repr__(self):
        return events.Handle.__repr__(self)


cdef class TimerHandle(Handle):
    """asyncio.TimerHandle's attributes and methods, compiled."""

    @property
    def __class__(self):
        return events.TimerHandle

    @property
    def _when(self):
        return self.due_at if self.given is None else self.given

    @_when.setter
    def _when(self, when):
        self.due_at = when
        self.given = None if type(when) is float else when
        if self._scheduled and isinstance(self._loop, HandleOwner):
            (<HandleOwner>self._loop).retime_timer()

    def when(self):
        return self._when

    def cancel(self):
        cdef object loop = self._loop
        if self._cancelled:
            return
        if (isinstance(loop, HandleOwner)
                and not (<HandleOwner>loop).has_cancel_override):
            (<HandleOwner>loop)._timer_cancelled_count += self._scheduled
        else:
            loop._timer_handle_cancelled(self)
        cancel_handle(self)
        if self._scheduled and isinstance(loop, HandleOwner):
            (<HandleOwner>loop).vacate_timer(self)

    def _repr_info(self):
        return events.TimerHandle._repr_info(self)

    def __hash__(self):
        return hash(self._when)

    def __lt__(self, other):
        if isinstance(other, events.TimerHandle):
            return self._when < other._when
        return NotImplemented

    def __le__(self, other):
        if isinstance(other, events.TimerHandle):
            return self._when < other._when or self.__eq__(other)
        return NotImplemented

    def __gt__(self, other):
        if isinstance(other, events.TimerHandle):
            return self._when > other._when
        return NotImplemented

    def __ge__(self, other):
        if isinstance(other, events.TimerHandle):
            return self._when > other._when or self.__eq__(other)
        return NotImplemented

    def __eq__(self, other):
        if isinstance(other, events.TimerHandle):
            return (self._when == other._when
                    and self._callback == other._callback
                    and self._args == other._args
                    and self._cancelled == other._cancelled)
        return NotImplemented


cdef int cancel_handle(Handle handle) except -1:
    cdef object loop = handle._loop
    handle._cancelled = True
    if (FREE_THREADED and isinstance(loop, HandleOwner)
            and (<HandleOwner>loop).is_elsewhere()):
        # The loop's thread may be running it, with these very objects.
        return 0
    if (<HandleOwner>loop).debug if isinstance(loop, HandleOwner) else loop.get_debug():
        # The log prints a cancelled handle too, and its callback is released below.
        handle._repr = repr(handle)
    # Another thread may be reading them, for its repr().
    with cython.critical_section(handle):
        handle._callback = None
        handle._args = None
    return 0


cdef int run_handle(Handle handle) except -1:
    """Call the callback in its context. An exception goes to the loop's handler."""
    cdef PyObject *result = NULL
    cdef object callback = handle._callback
    cdef tuple args = handle._args
    cdef object context = handle._context
    # Pointers, not objects: Cython's `try` would save and restore the thread's
    # exception state at every callback.
    if PyContext_Enter_raw(<PyObject *>context) == 0:
        if args:
            result = PyObject_Call_raw(<PyObject *>callback, <PyObject *>args, NULL)
        else:
            result = PyObject_CallNoArgs_raw(<PyObject *>callback)
        if PyContext_Exit(<PyObject *>context) < 0:
            Py_XDECREF(result)
            result = NULL
    if result == NULL:
        return callback_failed(handle, callback, args)
    Py_XDECREF(result)
    return 0


cdef int reraise() except -1:
    """Hand the exception that the C API has set to Cython's `except`."""
    return -1


cdef int callback_failed(Handle handle, callback, args) except -1:
    try:
        reraise()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        report_callback(handle, callback, args, exc)
    return 0


cdef int report_callback(Handle handle, callback, args, exc) except -1:
    """Call the loop's exception handler with asyncio's message."""
    source = format_callback(handle._loop, callback, args)
    context = {
        "message": f"Exception in callback {source}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)
    return 0


def set_result_unless_cancelled(future, result):
    """asyncio's function of this name, compiled."""
    if not future.cancelled():
        future.set_result(result)
