"""The heap of timers: a list laid out as heapq's, ordered by when they are due."""

from cpython.list cimport PyList_GET_ITEM

from uring_loop.scheduler.handles cimport Handle, TimerHandle


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
