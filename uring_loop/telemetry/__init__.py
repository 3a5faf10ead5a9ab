"""Telemetry of a running loop, for OpenTelemetry and Prometheus.

`import uring_loop` imports nothing of this folder. OpenTelemetry and prometheus_client
are imported with the first use of `instrument` and `Collector`.
"""

import importlib

MODULES = {"Collector": "prometheus", "Instrumentation": "otel", "instrument": "otel"}

__all__ = list(MODULES)


def __getattr__(name):
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{MODULES[name]}")
    return getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
