"""instrument(): what OpenTelemetry's SDK gets to see of a loop."""

import asyncio
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import uring_loop
from uring_loop import _compat, telemetry
from uring_loop.telemetry.metrics import METRICS

from .conftest import block, exchange

SLOW = 0.02


class World:
    """An SDK that keeps what it is given."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def instrument(self, loop, **options):
        return telemetry.instrument(loop, meter_provider=self.meters,
                                    tracer_provider=self.tracers, **options)

    def points(self):
        """{(metric, loop): data point}"""
        found = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        found[metric.name, point.attributes["loop"]] = point
        return found

    def spans(self):
        return self.exporter.get_finished_spans()


@pytest.fixture
def world():
    world = World()
    yield world
    world.meters.shutdown()
    world.tracers.shutdown()


def test_every_metric_has_a_value_with_loop_and_driver(loop, world):
    world.instrument(loop, lag_interval=0.001)
    loop.run_until_complete(exchange(b"q" * 1000, b"a"))
    loop.run_until_complete(asyncio.sleep(0.01))
    points = world.points()
    assert {name for name, _ in points} == {"uring_loop.lag",
                                            *(metric.name for metric in METRICS)}
    for point in points.values():
        assert dict(point.attributes) == {"loop": "main", "driver": loop.backend}
    assert points["uring_loop.received", "main"].value == 1001
    assert points["uring_loop.sent", "main"].value == 1001
    assert points["uring_loop.accepts", "main"].value == 1
    assert points["uring_loop.in_flight", "main"].value >= 1


def test_the_lag_is_how_late_the_loop_is(loop, world):
    async def main():
        await asyncio.sleep(0.005)
        block(0.1)
        await asyncio.sleep(0.005)

    world.instrument(loop, lag_interval=0.001, slow_callback=None)
    loop.run_until_complete(main())
    lag = world.points()["uring_loop.lag", "main"]
    assert lag.count >= 2
    # The timer was due during the block, at the latest a millisecond after its start.
    assert 0.09 <= lag.max


def test_a_slow_task_is_a_span_with_its_names(loop, world):
    async def slow():
        await asyncio.sleep(0)
        block(SLOW)

    async def main():
        await asyncio.create_task(slow(), name="by name")

    world.instrument(loop, slow_callback=SLOW)
    loop.run_until_complete(main())
    span, = [span for span in world.spans()
             if span.attributes["code.function.name"].endswith("<locals>.slow")]
    assert span.name == "uring_loop.slow_callback"
    assert span.attributes["asyncio.task.name"] == "by name"
    assert span.attributes["driver"] == loop.backend
    assert span.end_time - span.start_time >= SLOW * 1e9
    assert world.points()["uring_loop.slow_callbacks", "main"].value >= 1


def test_a_slow_callback_is_a_span_within_the_span_of_who_scheduled_it(loop, world):
    world.instrument(loop, slow_callback=SLOW)

    async def main():
        with world.tracers.get_tracer("test").start_as_current_span("request"):
            loop.call_soon(block, SLOW)
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    by_name = {span.name: span for span in world.spans()}
    slow = by_name["uring_loop.slow_callback"]
    assert slow.attributes["code.function.name"] == "block"
    assert slow.parent.span_id == by_name["request"].context.span_id


def test_the_call_graph_of_a_task_that_goes_on(loop, world, monkeypatch):
    """Python has it from 3.14 on; here a function stands in for it."""
    monkeypatch.setattr(_compat, "format_call_graph",
                        lambda task: f"graph of {task.get_name()}")

    async def main():
        block(SLOW)
        await asyncio.sleep(0)
        block(SLOW)

    world.instrument(loop, slow_callback=SLOW)
    loop.run_until_complete(loop.create_task(main(), name="me"))
    graphs = [span.attributes.get("asyncio.call_graph") for span in world.spans()
              if span.attributes.get("asyncio.task.name") == "me"]
    # Of a task that has ended there is none.
    assert graphs == ["graph of me", None]


@pytest.mark.skipif(_compat.format_call_graph is None,
                    reason="asyncio has call graphs from Python 3.14 on")
def test_pythons_own_call_graph(loop, world):
    async def main():
        block(SLOW)
        await asyncio.sleep(0)

    world.instrument(loop, slow_callback=SLOW)
    loop.run_until_complete(main())
    graphs = [span.attributes.get("asyncio.call_graph") for span in world.spans()]
    assert any("main" in graph for graph in graphs if graph)


def test_nothing_is_measured_after_close(loop, world):
    instrumentation = world.instrument(loop, lag_interval=0.001, slow_callback=0)
    loop.run_until_complete(asyncio.sleep(0.005))
    assert world.points()
    instrumentation.close()
    instrumentation.close()
    count = len(world.spans())
    timers = loop.statistics().timers
    loop.run_until_complete(asyncio.sleep(0.005))
    assert len(world.spans()) == count
    assert loop.statistics().timers <= timers
    assert ("uring_loop.iterations", "main") not in world.points()
    # Once more is allowed then.
    world.instrument(loop).close()


def test_a_closed_loop_has_no_metrics(world):
    loop = uring_loop.Loop(backend="epoll")
    instrumentation = world.instrument(loop)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert ("uring_loop.iterations", "main") not in world.points()
    instrumentation.close()


def test_several_loops_have_names(world):
    with uring_loop.IOThreadGroup(2, backend="epoll") as group:
        for number, thread in enumerate(group.threads):
            # From another thread, while the loop runs.
            world.instrument(thread.loop, name=f"loop {number}")
            thread.run(asyncio.sleep(0)).result()
        points = world.points()
        assert points["uring_loop.iterations", "loop 0"].value > 0
        assert points["uring_loop.iterations", "loop 1"].value > 0


def test_close_from_another_thread(loop, world):
    async def main():
        instrumentation = world.instrument(None, lag_interval=0.001)
        await asyncio.sleep(0.005)
        thread = threading.Thread(target=instrumentation.close)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        world.instrument(None).close()

    loop.run_until_complete(main())


def test_who_cannot_be_instrumented_hears_why(loop, world):
    stock = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match="uring_loop.Loop"):
        world.instrument(stock)
    stock.close()
    with pytest.raises(RuntimeError, match="no running event loop"):
        world.instrument(None)
    with pytest.raises(ValueError, match="lag_interval"):
        world.instrument(loop, lag_interval=0)
    world.instrument(loop)
    with pytest.raises(RuntimeError, match="telemetry already"):
        world.instrument(loop)
