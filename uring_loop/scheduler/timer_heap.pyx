"""The timer heap: the timers of a loop, ordered by due time.

Two arrays of the same length make up the heap. `handles` is a list: it owns the
handles, so the cyclic collector finds them, and it is the list that `loop._scheduled`
shows. `times` holds the due times as C doubles, so pushing, popping and rebuilding
compare numbers and never compare handles.

Each TimerHandle knows its place. `cancel()` removes the handle at once and leaves a
*tombstone* there: None, with the due time of the timer. The layout of the heap is that
of heapq, including the cancelled timers, and the layout decides the order of timers
with equal times. So a tombstone stays exactly as long as asyncio keeps the cancelled
handle.

A program that holds the list of `loop._scheduled` may change it, the list may contain
asyncio's own handles, and a program may set `_when`. While any of that is possible, the
heap is *shared*: each operation first reads times and places again, and a cancelled
handle stays in the list.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.math cimport INFINITY

from uring_loop.driver.capi cimport Py_REFCNT, PyListObject
from uring_loop.scheduler.handles cimport Handle, TimerHandle

cdef enum:
    CAPACITY_MIN = 64


# tp_clear of the cyclic collector would set `handles` to None, but the heap relies on a
# list. The collector breaks the cycle of a handle and its loop at one of these two.
@cython.no_gc_clear
cdef class TimerHeap:
    """The scheduled timers of one loop."""

    def __cinit__(self):
        self.handles = []

    def __dealloc__(self):
        PyMem_Free(self.times)

    cdef list share(self, loop):
        """The list of handles itself. Tombstones are replaced by cancelled handles, as
        in asyncio's list."""
        cdef Py_ssize_t at
        cdef TimerHandle cancelled
        if self.shared:
            return self.handles
        for at in range(PyList_GET_SIZE(self.handles)):
            if self.handles[at] is None:
                cancelled = TimerHandle.__new__(TimerHandle)
                cancelled.due_at = self.times[at]
                cancelled._loop = loop
                cancelled._cancelled = True
                cancelled._scheduled = True
                self.handles[at] = cancelled
        self.shared = True
        return self.handles

    cdef int replace(self, list handles) except -1:
        with cython.critical_section(self):
            self.handles = handles
        self.shared = True
        return 0

    cdef Py_ssize_t count(self) except -1:
        """The number of entries, for any thread."""
        with cython.critical_section(self):
            return len(self.handles)

    cdef int push(self, TimerHandle handle) except -1:
        """Add a timer. A MemoryError leaves the heap unchanged."""
        cdef Py_ssize_t count
        if self.shared:
            self.refresh()
        count = PyList_GET_SIZE(self.handles)
        if count == self.capacity:
            self.grow(2 * count)
        self.times[count] = handle.due_at
        self.handles.append(handle)
        handle._scheduled = True
        sift_to_root(self.times, items_of(self.handles), 0, count)
        return 0

    cdef double first_time(self) except? -1:
        if self.shared:
            self.refresh()
        return self.times[0]

    cdef object pop(self):
        """Remove the first entry: a handle, or None for a tombstone."""
        cdef Py_ssize_t count
        if self.shared:
            self.refresh()
        count = PyList_GET_SIZE(self.handles) - 1
        # With the index: GCC 16 warns about Cython's code for pop() without one.
        first = self.handles.pop(count)
        if count > 0:
            last = first
            first = self.handles[0]
            self.handles[0] = last
            self.times[0] = self.times[count]
            sift_to_leaf(self.times, items_of(self.handles), count, 0)
        if count < self.capacity // 4:
            self.shrink(self.capacity // 2)
        set_unscheduled(first)
        return first

    cdef int vacate(self, TimerHandle handle) except -1:
        """Leave a tombstone in the place of a cancelled timer."""
        cdef Py_ssize_t at = handle.place
        # A handle that is in another list, or twice in this one, stays there until it
        # is the first entry.
        if (not self.shared and 0 <= at < PyList_GET_SIZE(self.handles)
                and items_of(self.handles)[at] == <PyObject *>handle):
            handle._scheduled = False
            self.handles[at] = None
        return 0

    cdef Py_ssize_t drop_cancelled_first(self) except -1:
        """Drop cancelled timers until a live one is first; returns their number."""
        cdef Py_ssize_t count = 0
        while PyList_GET_SIZE(self.handles) and is_cancelled(self.handles[0]):
            self.pop()
            count += 1
        return count

    cdef int drop_cancelled(self) except -1:
        """Drop all cancelled timers. A MemoryError leaves some, at the heap's end."""
        cdef list handles
        cdef Py_ssize_t count
        if self.shared:
            # A new list, as on asyncio: a program may iterate over the old one.
            handles = [handle for handle in self.handles if not is_cancelled(handle)]
            for handle in self.handles:
                if is_cancelled(handle):
                    set_unscheduled(handle)
            with cython.critical_section(self):
                self.handles = handles
            self.refresh()
            heapify(self.times, items_of(handles), PyList_GET_SIZE(handles))
            return 0
        handles = self.handles
        count = self.move_cancelled_last()
        heapify(self.times, items_of(handles), count)
        # Releasing a handle may run Python code, so the heap is consistent by then.
        dropped = handles[count:]
        del handles[count:]
        if count < self.capacity // 4:
            self.shrink(2 * count)
        return 0

    cdef Py_ssize_t move_cancelled_last(self) noexcept:
        """Put the live timers first, in their order; returns their number."""
        cdef PyObject **items = items_of(self.handles)
        cdef PyObject *item
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t at
        for at in range(PyList_GET_SIZE(self.handles)):
            item = items[at]
            if item == <PyObject *>None:
                continue
            if (<TimerHandle>item)._cancelled:
                (<TimerHandle>item)._scheduled = False
                continue
            self.times[count] = self.times[at]
            items[at] = items[count]
            items[count] = item
            (<TimerHandle>item).place = count
            count += 1
        for at in range(count, PyList_GET_SIZE(self.handles)):
            self.times[at] = INFINITY
        return count

    cdef int refresh(self) except -1:
        """Read the times and places of all handles again."""
        cdef list handles = self.handles
        cdef Py_ssize_t at = 0
        cdef double when
        cdef bint foreign = False
        while at < PyList_GET_SIZE(handles):
            handle = handles[at]
            if isinstance(handle, TimerHandle):
                when = (<TimerHandle>handle).due_at
                (<TimerHandle>handle).place = at
            else:
                foreign = True
                when = handle._when
            if at >= self.capacity:
                self.grow(max(2 * at, PyList_GET_SIZE(handles)))
            self.times[at] = when
            at += 1
        # The heap has one reference to the list, this function another.
        self.shared = foreign or Py_REFCNT(<PyObject *>handles) > 2
        return 0

    cdef int grow(self, Py_ssize_t capacity) except -1:
        cdef double *times
        capacity = max(capacity, CAPACITY_MIN)
        times = <double *>PyMem_Realloc(self.times, capacity * sizeof(double))
        if times == NULL:
            raise MemoryError
        self.times = times
        self.capacity = capacity
        return 0

    cdef int shrink(self, Py_ssize_t capacity) except -1:
        cdef double *times
        capacity = max(capacity, CAPACITY_MIN)
        if capacity >= self.capacity:
            return 0
        times = <double *>PyMem_Realloc(self.times, capacity * sizeof(double))
        # If a smaller array cannot be allocated, the larger one stays.
        if times != NULL:
            self.times = times
            self.capacity = capacity
        return 0


cdef inline PyObject **items_of(list handles) noexcept:
    return (<PyListObject *><PyObject *>handles).ob_item


# The functions below cannot fail: they compare numbers and move pointers. No reference
# count changes, and no Python code runs while the two arrays differ.

cdef inline void set_place(PyObject *item, Py_ssize_t at) noexcept:
    if item != <PyObject *>None and isinstance(<object>item, TimerHandle):
        (<TimerHandle>item).place = at


cdef void sift_to_root(
        double *times, PyObject **items, Py_ssize_t start, Py_ssize_t at) noexcept:
    """Move an entry towards `start` until its parent is due no later."""
    cdef PyObject *item = items[at]
    cdef double when = times[at]
    cdef Py_ssize_t parent
    while at > start:
        parent = (at - 1) >> 1
        if not when < times[parent]:
            break
        times[at] = times[parent]
        items[at] = items[parent]
        set_place(items[at], at)
        at = parent
    times[at] = when
    items[at] = item
    set_place(item, at)


cdef void sift_to_leaf(
        double *times, PyObject **items, Py_ssize_t count, Py_ssize_t at) noexcept:
    """Move an entry down to a leaf, each time exchanged with the earlier child, then
    back up to its place."""
    cdef PyObject *item = items[at]
    cdef double when = times[at]
    cdef Py_ssize_t start = at
    cdef Py_ssize_t child = 2 * at + 1
    while child < count:
        # The right one of equal children, as in heapq: it decides the order of equals.
        if child + 1 < count and not times[child] < times[child + 1]:
            child += 1
        times[at] = times[child]
        items[at] = items[child]
        set_place(items[at], at)
        at = child
        child = 2 * at + 1
    times[at] = when
    items[at] = item
    sift_to_root(times, items, start, at)


cdef void heapify(double *times, PyObject **items, Py_ssize_t count) noexcept:
    """Turn entries in any order into a heap, as heapq.heapify() does."""
    cdef Py_ssize_t at
    cdef Py_ssize_t child
    for at in reversed(range(count // 2)):
        child = 2 * at + 1
        # An entry due before both children would move to a leaf and back: skip it.
        if not (times[at] < times[child]
                and (child + 1 == count or times[at] < times[child + 1])):
            sift_to_leaf(times, items, count, at)


cdef int set_unscheduled(handle) except -1:
    if isinstance(handle, TimerHandle):
        (<TimerHandle>handle)._scheduled = False
    elif handle is not None:
        handle._scheduled = False
    return 0


cdef bint is_cancelled(handle) except -1:
    if handle is None:
        return True
    if isinstance(handle, Handle):
        return (<Handle>handle)._cancelled
    return handle._cancelled
