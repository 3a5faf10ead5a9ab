"""What a loop runs: handles, and the heap of those that wait for their time.

A handle is a callback with its arguments and its context. Nothing here waits for
anything or knows what time it is.
"""

cimport cython
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

from asyncio import events

from uring_loop._compat import format_callback

cdef extern from "Python.h":
    int PyContext_Enter(PyObject *context)
    int PyContext_Exit(PyObject *context)
    PyObject *PyObject_Call(PyObject *callback, PyObject *args, PyObject *kwargs)
    PyObject *PyObject_CallNoArgs(PyObject *callback)


cdef class HandleOwner:
    """What handles know of their loop without asking it by name."""


@cython.freelist(1024)
cdef class Handle:
    """asyncio.Handle's attributes and methods, in C.

    It cannot inherit from asyncio.Handle (both have a memory layout of their own),
    but answers `isinstance` as one.
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
    """asyncio.TimerHandle's attributes and methods, in C."""

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

    def when(self):
        return self._when

    def cancel(self):
        cdef object loop = self._loop
        if self._cancelled:
            return
        if isinstance(loop, HandleOwner) and not (<HandleOwner>loop).hears_of_cancelled:
            (<HandleOwner>loop)._timer_cancelled_count += self._scheduled
        else:
            loop._timer_handle_cancelled(self)
        cancel_handle(self)

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
    if (<HandleOwner>loop).debug if isinstance(loop, HandleOwner) else loop.get_debug():
        # What it was is gone from the handle when the log prints it.
        handle._repr = repr(handle)
    handle._callback = None
    handle._args = None
    return 0


cdef int run_handle(Handle handle) except -1:
    """Call it in its context; an exception goes to the loop's handler."""
    cdef PyObject *result = NULL
    cdef object callback = handle._callback
    cdef tuple args = handle._args
    cdef object context = handle._context
    # Pointers, not objects: Cython's try would save and restore the thread's
    # exception state round every callback.
    if PyContext_Enter(<PyObject *>context) == 0:
        if args:
            result = PyObject_Call(<PyObject *>callback, <PyObject *>args, NULL)
        else:
            result = PyObject_CallNoArgs(<PyObject *>callback)
        if PyContext_Exit(<PyObject *>context) < 0:
            Py_XDECREF(result)
            result = NULL
    if result == NULL:
        return callback_failed(handle, callback, args)
    Py_XDECREF(result)
    return 0


cdef int pass_on() except -1:
    """Let the exception that is set already be seen by Cython."""
    return -1


cdef int callback_failed(Handle handle, callback, args) except -1:
    try:
        pass_on()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        report_callback(handle, callback, args, exc)
    return 0


cdef int report_callback(Handle handle, callback, args, exc) except -1:
    """To the loop's exception handler, in asyncio's words."""
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


# ---- timers: a heap in a list, laid out as heapq's ----------------------------

cdef double when_at(list heap, Py_ssize_t i) except? -1:
    """When the timer in this place is due. asyncio's own handles may be there, too:
    the list is `loop._scheduled`, and anybody can add to it."""
    cdef object handle = <object>PyList_GET_ITEM(heap, i)
    if isinstance(handle, TimerHandle):
        return (<TimerHandle>handle).due_at
    return handle._when


cdef int sift_down(list heap, Py_ssize_t start, Py_ssize_t at) except -1:
    """Move the item at `at` towards the root until its parent is not later."""
    cdef object item = <object>PyList_GET_ITEM(heap, at)
    cdef double when = when_at(heap, at)
    cdef Py_ssize_t before = at
    cdef Py_ssize_t parent
    while at > start:
        parent = (at - 1) >> 1
        if when >= when_at(heap, parent):
            break
        heap[at] = <object>PyList_GET_ITEM(heap, parent)
        at = parent
    if at != before:
        heap[at] = item
    return 0


cdef int sift_up(list heap) except -1:
    """Move the root to a leaf, the smaller child up each time, then back down."""
    cdef object item = <object>PyList_GET_ITEM(heap, 0)
    cdef Py_ssize_t end = len(heap)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t child = 1
    while child < end:
        # Of equals the right one, as heapq does: ties then run in asyncio's order.
        if child + 1 < end and not when_at(heap, child) < when_at(heap, child + 1):
            child += 1
        heap[at] = <object>PyList_GET_ITEM(heap, child)
        at = child
        child = 2 * at + 1
    heap[at] = item
    return sift_down(heap, 0, at)


cdef int push_timer(list heap, TimerHandle handle) except -1:
    heap.append(handle)
    return sift_down(heap, 0, len(heap) - 1)


cdef object pop_timer(list heap):
    """The timer that is due first, no longer scheduled."""
    cdef object first = heap.pop()
    cdef object last
    if heap:
        first, last = heap[0], first
        heap[0] = last
        sift_up(heap)
    if isinstance(first, TimerHandle):
        (<TimerHandle>first)._scheduled = False
    else:
        first._scheduled = False
    return first


cdef list without_cancelled(list heap):
    """The timers that are left, in the order of the list; the others are scheduled no
    more."""
    cdef list kept = []
    for handle in heap:
        if not is_cancelled(handle):
            kept.append(handle)
        elif isinstance(handle, TimerHandle):
            (<TimerHandle>handle)._scheduled = False
        else:
            handle._scheduled = False
    return kept


cdef bint is_cancelled(handle) except -1:
    if isinstance(handle, Handle):
        return (<Handle>handle)._cancelled
    return handle._cancelled
