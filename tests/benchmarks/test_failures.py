"""A loop that dies or hangs in a scenario is told as failed, and the others go on."""

import os

import pytest

from benchmarks import scenarios, session
from benchmarks.process import Child

DYING = """
import asyncio, os, sys
def new_event_loop():
    loop = asyncio.SelectorEventLoop()
    def die():
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    loop.call_soon(loop.call_soon, die)
    return loop
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


def test_a_loop_that_dies(measure):
    results = measure(DYING)
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
