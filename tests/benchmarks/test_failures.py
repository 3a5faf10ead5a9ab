"""A loop that dies or hangs in a scenario is told as failed, and the others go on."""

import os

import pytest

from benchmarks import scenarios, session
from benchmarks.process import Child

# Runs for the start, the warm-up and each round.
DYING = """
import asyncio, os, sys
class Loop(asyncio.SelectorEventLoop):
    runs_left = {runs}
    def run_until_complete(self, future):
        if not self.runs_left:
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        self.runs_left -= 1
        return super().run_until_complete(future)
"""
HANGING = """
import asyncio, threading
class Loop(asyncio.SelectorEventLoop):
    def run_forever(self):
        threading.Event().wait()
"""


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run one short scenario on asyncio's loop and on the one of a module's text."""
    def measure(text):
        (tmp_path / "peer.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(Child, "patience_seconds", 3.0)
        cores = os.sched_getaffinity(0)
        settings = session.Settings(
            loops=["asyncio", "peer"], extra_loops=[], baseline="asyncio", rounds=2,
            slice_seconds=0.02, server_cores=cores, client_cores=cores,
            count_calls=False)
        scenario, = scenarios.select(["sleep-zero"], full=False, quick=False)
        with session.Session(settings, {}, lambda text: None) as measuring:
            return measuring.run(scenario)["loops"]
    return measure


def assert_asyncio_was_measured(results):
    assert "error" not in results["asyncio"]
    assert len(results["asyncio"]["samples"]) == 2


@pytest.mark.parametrize("runs", [0, 1, 3])
def test_a_loop_that_dies(measure, runs):
    results = measure(DYING.format(runs=runs))
    assert results["peer"]["error"] == "process ended: out of luck"
    assert_asyncio_was_measured(results)


def test_a_loop_that_hangs(measure):
    results = measure(HANGING)
    assert results["peer"]["error"] == "no answer within 3 s"
    assert_asyncio_was_measured(results)


def test_a_loop_that_is_not_there(measure):
    results = measure("raise ImportError('no such loop')")
    assert results["peer"]["error"].endswith("ImportError: no such loop")
    assert_asyncio_was_measured(results)
