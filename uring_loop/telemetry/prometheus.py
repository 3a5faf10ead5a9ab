"""Collector: metrics of a loop for prometheus_client.

Needs the package prometheus_client (the extra `uring-loop[prometheus]`).
"""

import bisect
import itertools

from prometheus_client.core import (
    CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)
from prometheus_client.registry import Collector as CollectorBase

from uring_loop.telemetry.metrics import (
    COUNTER, LAG, LAG_BOUNDS, LAG_DESCRIPTION, METRICS, prometheus_name)
from uring_loop.telemetry.probe import Probe

BOUNDS = [*map(str, LAG_BOUNDS), "+Inf"]


class Collector(CollectorBase):
    """A collector of prometheus_client for any number of loops.

    registry.register(collector) makes it visible; add(loop) switches the metrics of a
    loop on, until close() or the end of the loop.
    """

    def __init__(self):
        self._watched = []

    def add(self, loop=None, *, name="main", lag_interval=0.5, slow_callback=0.1):
        """Report a loop, by default the running one. The options are those of
        instrument(), but a slow callback is only counted here. Each loop of a process
        needs a name of its own."""
        names = [watched.labels[0] for watched in self._living()]
        if name in names:
            raise ValueError(f"there is a loop of the name {name!r} already")
        self._watched.append(Watched(loop, name, lag_interval, slow_callback))

    def close(self):
        """Switch all off; a second call has no effect. Any thread may call it."""
        for watched in self._watched:
            watched.probe.close()

    def describe(self):
        """The names, without values: for the registry's check of duplicates."""
        return [*map(empty_family, METRICS), lag_family()]

    def collect(self):
        families = self.describe()
        for watched in self._living():
            watched.add_to(families)
        return families

    def _living(self):
        # Loops that have been closed are forgotten here.
        self._watched = [one for one in self._watched if one.probe.read() is not None]
        return self._watched


class Watched:
    """One loop of a collector: its probe and the histogram of its lag."""

    def __init__(self, loop, name, lag_interval, slow_callback):
        self.counts = [0] * len(BOUNDS)
        self.sum = 0.0
        self.probe = Probe(loop, name, lag_interval, slow_callback, self._on_lag,
                           lambda what, seconds: None)
        self.labels = list(self.probe.attributes.values())

    def _on_lag(self, seconds):
        self.counts[bisect.bisect_left(LAG_BOUNDS, seconds)] += 1
        self.sum += seconds

    def add_to(self, families):
        values = self.probe.read()
        if values is None:
            return
        *families, lag = families
        for metric, family in zip(METRICS, families):
            family.add_metric(self.labels, values[metric.field] * metric.scale)
        buckets = zip(BOUNDS, itertools.accumulate(self.counts))
        lag.add_metric(self.labels, list(buckets), self.sum)


def empty_family(metric):
    kind = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
    return kind(prometheus_name(metric.name, metric.unit), metric.description,
                labels=["loop", "driver"])


def lag_family():
    return HistogramMetricFamily(
        prometheus_name(LAG, "s"), LAG_DESCRIPTION, labels=["loop", "driver"])
