"""Collector: the text that Prometheus fetches, and the dashboard that reads it."""

import asyncio
import json
import pathlib
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from uring_loop import telemetry
from uring_loop.telemetry.metrics import METRICS

from .conftest import block, exchange

DASHBOARD = (pathlib.Path(__file__).resolve().parents[2]
             / "examples" / "grafana_dashboard.json")


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def collector(registry):
    collector = telemetry.Collector()
    registry.register(collector)
    return collector


def samples(registry):
    """{(name, le): (value, labels)} of what is fetched."""
    found = {}
    text = generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            found[sample.name, labels.pop("le", None)] = sample.value, labels
    return found


def test_every_metric_has_a_value_with_loop_and_driver(loop, registry, collector):
    collector.add(loop, lag_interval=0.001)
    loop.run_until_complete(exchange(b"q" * 1000, b"a"))
    loop.run_until_complete(asyncio.sleep(0.01))
    found = samples(registry)
    assert {name for name, _ in found} >= {"uring_loop_lag_seconds_bucket",
                                           "uring_loop_lag_seconds_count",
                                           "uring_loop_lag_seconds_sum"}
    assert len({name for name, _ in found}) == len(METRICS) + 3
    assert all(labels == {"loop": "main", "driver": loop.backend}
               for _, labels in found.values())
    assert found["uring_loop_received_bytes_total", None][0] == 1001
    assert found["uring_loop_accepts_total", None][0] == 1
    assert found["uring_loop_in_flight", None][0] >= 1


def test_the_lag_is_a_histogram(loop, registry, collector):
    async def main():
        await asyncio.sleep(0.005)
        block(0.1)
        await asyncio.sleep(0.005)

    collector.add(loop, lag_interval=0.001)
    loop.run_until_complete(main())
    found = samples(registry)
    buckets = [value for (name, _), (value, _) in found.items()
               if name == "uring_loop_lag_seconds_bucket"]
    assert buckets == sorted(buckets)
    count = found["uring_loop_lag_seconds_count", None][0]
    assert buckets[-1] == count >= 2
    # One was 90 milliseconds late, or more.
    assert found["uring_loop_lag_seconds_bucket", "0.05"][0] < count
    assert found["uring_loop_lag_seconds_sum", None][0] >= 0.09


def test_slow_callbacks_and_busy_time_are_counted(loop, registry, collector):
    collector.add(loop, slow_callback=0.02)
    loop.call_soon(block, 0.02)
    loop.run_until_complete(asyncio.sleep(0))
    found = samples(registry)
    assert found["uring_loop_slow_callbacks_total", None][0] >= 1
    assert found["uring_loop_busy_seconds_total", None][0] >= 0.02


def test_several_loops(loop, registry, collector):
    collector.add(loop, name="one")
    with pytest.raises(ValueError, match="'one'"):
        collector.add(asyncio.SelectorEventLoop, name="one")
    text = generate_latest(registry).decode()
    assert f'uring_loop_iterations_total{{driver="{loop.backend}",loop="one"}}' in text
    collector.close()
    assert "uring_loop_iterations_total{" not in generate_latest(registry).decode()


def test_the_dashboard_asks_for_metrics_that_there_are(loop, registry, collector):
    collector.add(loop, lag_interval=0.001)
    loop.run_until_complete(asyncio.sleep(0.005))
    known = {name for name, _ in samples(registry)}
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = set()
    for panel in panels:
        for target in panel["targets"]:
            asked |= set(re.findall(r"uring_loop_\w+", target["expr"]))
    assert asked <= known
    # All there is to see is shown, but for what adaptive polling counts.
    assert {name for name in known - asked if "spin" not in name and "spun" not in name
            } <= {"uring_loop_lag_seconds_count", "uring_loop_lag_seconds_sum"}
