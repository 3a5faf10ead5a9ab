"""The table of metrics: what both exporters read, and the names under which.

OpenTelemetry's names have dots, and Prometheus' have the unit and `_total` appended, as
OpenTelemetry's own exporter for Prometheus appends them. So one dashboard fits both.
"""

import collections

Metric = collections.namedtuple("Metric", "name kind unit field scale description")

COUNTER, GAUGE = "counter", "gauge"
# Unit -> what Prometheus' names have appended. Braces are annotations, not units.
SUFFIXES = {"s": "_seconds", "By": "_bytes"}
NANO = 1e-9

# `field` names a field of Statistics, or of Probe.
METRICS = (
    Metric("uring_loop.iterations", COUNTER, "{iteration}", "iterations", 1,
           "Iterations of the loop."),
    Metric("uring_loop.callbacks", COUNTER, "{callback}", "callbacks", 1,
           "Handles, timers and callbacks of watches that the loop has run."),
    Metric("uring_loop.busy", COUNTER, "s", "busy_seconds", 1,
           "Time within callbacks."),
    Metric("uring_loop.slow_callbacks", COUNTER, "{callback}", "slow_callbacks", 1,
           "Callbacks that took longer than the limit."),
    Metric("uring_loop.received", COUNTER, "By", "received_bytes", 1,
           "Bytes received by stream and datagram transports."),
    Metric("uring_loop.sent", COUNTER, "By", "sent_bytes", 1,
           "Bytes sent by stream and datagram transports."),
    Metric("uring_loop.accepts", COUNTER, "{connection}", "accepts", 1,
           "Connections accepted by listeners."),
    Metric("uring_loop.enters", COUNTER, "{call}", "enters", 1,
           "Enters of the driver, which may sleep."),
    Metric("uring_loop.completions", COUNTER, "{completion}", "completions", 1,
           "Completions handed to their operations."),
    Metric("uring_loop.full_queues", COUNTER, "{event}", "full_queues", 1,
           "How often the completion queue was full."),
    Metric("uring_loop.spins_hit", COUNTER, "{spin}", "spins_hit", 1,
           "Spins during which an event arrived."),
    Metric("uring_loop.spins_missed", COUNTER, "{spin}", "spins_missed", 1,
           "Spins during which no event arrived."),
    Metric("uring_loop.spun", COUNTER, "s", "spun_ns", NANO,
           "Time spent spinning."),
    Metric("uring_loop.in_flight", GAUGE, "{operation}", "in_flight", 1,
           "Operations in flight."),
    Metric("uring_loop.ready", GAUGE, "{callback}", "ready", 1,
           "Callbacks in the ready queue."),
    Metric("uring_loop.timers", GAUGE, "{timer}", "timers", 1,
           "Timers in the heap."),
    Metric("uring_loop.pool_buffers", GAUGE, "{buffer}", "pool_buffers", 1,
           "Buffers in the pool of stream receives."),
)

LAG = "uring_loop.lag"
LAG_DESCRIPTION = "How late a timer runs that the probe sets again and again."
# Upper bounds of the histogram's buckets, in seconds.
LAG_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
              0.25, 0.5, 1.0, 2.5)


def prometheus_name(name, unit):
    """Without `_total`, which prometheus_client appends itself."""
    return name.replace(".", "_") + SUFFIXES.get(unit, "")
