"""What is done with the times of callbacks, while the loop measures them.

It measures them in debug mode, which logs slow ones as asyncio does, and for telemetry.
"""

from asyncio import base_events

from uring_loop.driver.ring cimport Operation
from uring_loop.scheduler.handles cimport HandleOwner


cdef class CallbackWatch:
    """Hears of each callback that the loop has measured."""

    def set_report(self, report, double seconds):
        """Call `report(what, start, took)` for each that takes so long; None: no more.
        """
        self.report = report
        self.seconds = seconds

    cdef int took(
            self, HandleOwner loop, what, double start, double seconds) except -1:
        self.busy_seconds += seconds
        if loop.debug and seconds >= loop.slow_callback_duration:
            name = (repr(what) if isinstance(what, Operation)
                    else base_events._format_handle(what))
            base_events.logger.warning("Executing %s took %.3f seconds", name, seconds)
        if self.report is not None and seconds >= self.seconds:
            self.call_report(loop, what, start, seconds)
        return 0

    cdef int call_report(self, loop, what, double start, double seconds) except -1:
        try:
            self.report(what, start, seconds)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            loop.call_exception_handler({
                "message": "Exception in the report of a slow callback",
                "exception": exc,
            })
        return 0
