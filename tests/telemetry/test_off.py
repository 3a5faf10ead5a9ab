"""Telemetry that is not switched on: nothing is imported, nothing is measured.

That the scheduler's hot paths take no more instructions for it is compared by
`python -m benchmarks.regress`.
"""

import subprocess
import sys

from tests.slowness import PATIENCE_SECONDS


def run(code):
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True,
                            text=True, timeout=PATIENCE_SECONDS)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split()


def test_the_package_imports_no_telemetry():
    assert run("""
import asyncio, sys, uring_loop
uring_loop.run(asyncio.sleep(0))
print([name for name in sys.modules if "telemetry" in name or "prometheus" in name])
""") == ["[]"]


def test_each_exporter_does_without_the_package_of_the_other():
    assert run("""
import sys
from uring_loop import telemetry
sys.modules["opentelemetry"] = None
telemetry.Collector()
print("prometheus_client" in sys.modules)
""") == ["True"]
    assert run("""
import sys
from uring_loop import telemetry
sys.modules["prometheus_client"] = None
telemetry.instrument
print("opentelemetry.metrics" in sys.modules)
""") == ["True"]


def test_a_name_that_is_none_of_its():
    assert run("""
from uring_loop import telemetry
print(hasattr(telemetry, "nothing"), set(telemetry.__all__) <= set(dir(telemetry)))
""") == ["False", "True"]
