"""Types of uring_loop.telemetry.

Parameters that are objects of OpenTelemetry or prometheus_client have their types where
those packages are installed.
"""

from collections.abc import Iterable

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from prometheus_client.core import Metric
from prometheus_client.registry import Collector as _CollectorBase

from uring_loop import Loop

__all__ = ["Collector", "Instrumentation", "instrument"]

class Instrumentation:
    def __init__(
        self,
        loop: Loop | None,
        name: str,
        meter_provider: MeterProvider | None,
        tracer_provider: TracerProvider | None,
        lag_interval: float,
        slow_callback: float | None,
    ) -> None: ...
    def close(self) -> None: ...

def instrument(
    loop: Loop | None = None,
    *,
    name: str = "main",
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
    lag_interval: float = 0.5,
    slow_callback: float | None = 0.1,
) -> Instrumentation: ...

class Collector(_CollectorBase):
    def __init__(self) -> None: ...
    def add(
        self,
        loop: Loop | None = None,
        *,
        name: str = "main",
        lag_interval: float = 0.5,
        slow_callback: float | None = 0.1,
    ) -> None: ...
    def close(self) -> None: ...
    def describe(self) -> Iterable[Metric]: ...
    def collect(self) -> Iterable[Metric]: ...
