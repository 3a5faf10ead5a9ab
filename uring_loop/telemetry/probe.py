"""The probe: measures one loop while telemetry is switched on.

Loop lag is measured by a timer. Slow callbacks are reported by the loop, which measures
all callbacks as long as a probe is open, as in asyncio's debug mode but without its
checks and tracebacks.
"""

import asyncio
import weakref

from uring_loop.loop import Loop

# Loops that have a probe: a loop reports slow callbacks to one.
_probed = weakref.WeakSet()


class Probe:
    """Calls `on_lag(seconds)` and `on_slow(what, seconds)` in the loop's thread.

    name           value of the attribute `loop` of all metrics
    lag_interval   seconds between two measurements of the lag
    slow_callback  seconds from which a callback is reported; None: callbacks are not
                   measured
    """

    def __init__(self, loop, name, lag_interval, slow_callback, on_lag, on_slow):
        if loop is None:
            loop = asyncio.get_running_loop()
        if not isinstance(loop, Loop):
            raise TypeError(f"telemetry needs a uring_loop.Loop, not {loop!r}")
        if lag_interval <= 0:
            raise ValueError("lag_interval must be above 0")
        if loop in _probed:
            raise RuntimeError(f"{loop!r} has telemetry already: close that first")
        _probed.add(loop)
        self.attributes = {"loop": name, "driver": loop.backend}
        self.slow_callbacks = 0
        self._loop = weakref.ref(loop)
        self._lag_interval = lag_interval
        self._slow_callback = slow_callback
        self._on_lag = on_lag
        self._on_slow = on_slow
        self._timer = None
        self._closed = False
        self._in_loop(self._start)

    def read(self):
        """{field: value}, in any thread; None if the loop is closed."""
        loop = self._loop()
        if loop is None or loop.is_closed() or self._closed:
            return None
        return {**loop.statistics()._asdict(), "slow_callbacks": self.slow_callbacks}

    def close(self):
        """Stop measuring; a second call has no effect."""
        if not self._closed:
            self._closed = True
            self._in_loop(self._stop)

    def _in_loop(self, function):
        """Call the function in the thread of the loop, which may be another one."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            return
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            loop.call_soon_threadsafe(function)
        else:
            function()

    def _start(self):
        loop = self._loop()
        if self._slow_callback is not None:
            loop.watch_callbacks(self._slow, seconds=self._slow_callback)
        self._timer = loop.call_later(self._lag_interval, self._tick)

    def _stop(self):
        loop = self._loop()
        if self._timer is not None:
            self._timer.cancel()
        if self._slow_callback is not None:
            loop.watch_callbacks(None)
        _probed.discard(loop)

    def _tick(self):
        loop = self._loop()
        self._on_lag(max(0.0, loop.time() - self._timer.when()))
        self._timer = loop.call_later(self._lag_interval, self._tick)

    def _slow(self, what, start, seconds):
        self.slow_callbacks += 1
        self._on_slow(what, seconds)
