"""The loop's clock: time.monotonic(), or the clock that has replaced it.

asyncio looks up `time` in base_events and `monotonic` in that module at each call, and
tests and tools replace them (mock.patch, freezegun). Two dictionary look-ups check that
both are the originals; then the clock is read without a Python call.
"""

from cpython.object cimport PyObject
from libc.math cimport INFINITY, fabs, nextafter

import time
import types
from asyncio import base_events

from uring_loop._compat import DUE_WITHIN_ULP
from uring_loop.driver.capi cimport PyDict_GetItemWithError
from uring_loop.scheduler.busy_poll cimport now_ns

cdef dict NAMES_OF_ASYNCIO = base_events.__dict__
cdef dict NAMES_OF_TIME = time.__dict__
cdef object TIME = time
# None if time.monotonic had been replaced before this module was imported.
cdef object MONOTONIC = (
    time.monotonic if isinstance(time.monotonic, types.BuiltinFunctionType) else None)
cdef bint HAS_ULP_MARGIN = DUE_WITHIN_ULP
cdef str NAME_TIME = "time"
cdef str NAME_MONOTONIC = "monotonic"


cdef double monotonic() noexcept nogil:
    # Arithmetic: cannot raise. CPython divides in the same way, so the result is equal
    # to that of time.monotonic().
    return <double>now_ns() / 1e9


cdef inline bint is_original() except -1:
    return (PyDict_GetItemWithError(NAMES_OF_TIME, NAME_MONOTONIC)
            == <PyObject *>MONOTONIC
            and PyDict_GetItemWithError(NAMES_OF_ASYNCIO, NAME_TIME)
            == <PyObject *>TIME)


cdef double clock_time() except? -1:
    """The time in seconds."""
    if is_original():
        return monotonic()
    return base_events.time.monotonic()


cdef object clock_value():
    """The time as an object: a replaced clock may return any type of number."""
    if is_original():
        return monotonic()
    return base_events.time.monotonic()


cdef double end_of_due(double now, double resolution) noexcept:
    """A timer before this time is due: see DUE_WITHIN_ULP."""
    # Arithmetic: cannot raise.
    if HAS_ULP_MARGIN:
        resolution = max(resolution, nextafter(fabs(now), INFINITY) - fabs(now))
    return now + resolution
