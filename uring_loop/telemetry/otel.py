"""instrument(): metrics and spans of a loop by OpenTelemetry's API.

Needs the package opentelemetry-api (the extra `uring-loop[otel]`). Whether anything is
exported, and where to, is the business of the SDK that the program sets up.
"""

import asyncio
import functools
import threading
import time
import weakref

from opentelemetry import metrics, trace

from uring_loop import _compat
from uring_loop._version import __version__
from uring_loop.telemetry.metrics import (
    COUNTER, LAG, LAG_BOUNDS, LAG_DESCRIPTION, METRICS)
from uring_loop.telemetry.probe import Probe


def instrument(loop=None, *, name="main", meter_provider=None, tracer_provider=None,
               lag_interval=0.5, slow_callback=0.1):
    """Report a loop's metrics and slow callbacks to OpenTelemetry, until the
    Instrumentation that is returned is closed, or the loop.

    loop             default: the running loop
    name             value of the attribute `loop`, where a process has several
    meter_provider, tracer_provider  default: the global ones
    lag_interval     seconds between two measurements of the loop's lag
    slow_callback    seconds from which a callback becomes a span; None: callbacks are
                     not measured
    """
    return Instrumentation(loop, name, meter_provider, tracer_provider, lag_interval,
                           slow_callback)


class Instrumentation:
    """What instrument() has switched on; close() switches it off."""

    def __init__(self, loop, name, meter_provider, tracer_provider, lag_interval,
                 slow_callback):
        self._instruments = instruments_of(meter_provider)
        self._tracer = trace.get_tracer(__package__, __version__, tracer_provider)
        self._probe = Probe(loop, name, lag_interval, slow_callback, self._on_lag,
                            self._on_slow)
        self._instruments.add(self._probe)

    def close(self):
        """Switch off; a second call has no effect. Any thread may call it."""
        self._probe.close()

    def _on_lag(self, seconds):
        self._instruments.lag.record(seconds, self._probe.attributes)

    def _on_slow(self, what, seconds):
        # The span's parent is the current span of the callback, not of this function.
        context = getattr(what, "_context", None)
        if context is None:
            self._add_span(what, seconds)
        else:
            context.run(self._add_span, what, seconds)

    def _add_span(self, what, seconds):
        end = time.time_ns()
        span = self._tracer.start_span(
            "uring_loop.slow_callback", start_time=end - int(seconds * 1e9),
            attributes={**self._probe.attributes, **describe(what)})
        span.end(end)


class Instruments:
    """The instruments of one meter provider, for all loops: the SDK takes each once."""

    def __init__(self, meter):
        self._probes = ()
        self.lag = meter.create_histogram(
            LAG, "s", LAG_DESCRIPTION, explicit_bucket_boundaries_advisory=LAG_BOUNDS)
        for metric in METRICS:
            create = (meter.create_observable_counter if metric.kind == COUNTER
                      else meter.create_observable_up_down_counter)
            create(metric.name, [functools.partial(self._observe, metric)], metric.unit,
                   metric.description)

    def add(self, probe):
        # Loops that have been closed are forgotten here.
        living = [one for one in self._probes if one.read() is not None]
        self._probes = (*living, probe)

    def _observe(self, metric, options):
        for probe in self._probes:
            values = probe.read()
            if values is not None:
                yield metrics.Observation(values[metric.field] * metric.scale,
                                          probe.attributes)


# Meter provider -> its Instruments. None stands for the global one, which a program may
# set later.
_instruments = weakref.WeakKeyDictionary()
_global_instruments = []
_lock = threading.Lock()


def instruments_of(provider):
    with _lock:
        if provider is None:
            if not _global_instruments:
                _global_instruments.append(
                    Instruments(metrics.get_meter(__package__, __version__)))
            return _global_instruments[0]
        if provider not in _instruments:
            _instruments[provider] = Instruments(
                metrics.get_meter(__package__, __version__, provider))
        return _instruments[provider]


def describe(what):
    """Attributes for a Handle that has run, or an operation that has completed."""
    callback = getattr(what, "_callback", None)
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return {"code.function.name": function_name(what, callback)}
    coroutine = task.get_coro()
    attributes = {
        "code.function.name": getattr(coroutine, "__qualname__", repr(coroutine)),
        "asyncio.task.name": task.get_name(),
    }
    if _compat.format_call_graph is not None and not task.done():
        attributes["asyncio.call_graph"] = _compat.format_call_graph(task)
    return attributes


def function_name(what, callback):
    if callback is None:
        return repr(what)
    while isinstance(callback, functools.partial):
        callback = callback.func
    return getattr(callback, "__qualname__", repr(callback))
