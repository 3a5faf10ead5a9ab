"""A loop that dies, hangs or cannot be made is told as such, and the others go on."""

import os

import pytest

from benchmarks.compare import comparison, preflight
from benchmarks.judge import goals
from benchmarks.measure.processes import BenchmarkError, Child, Scratch
from benchmarks.pages import performance, rows, sections
from benchmarks.scenarios import catalogue, loops

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


# Has one backend, and the name of a second one.
PICKY = """
import asyncio
def new_event_loop(backend=None):
    if backend is not None:
        raise ValueError(f"no backend {backend} here")
    return asyncio.SelectorEventLoop()
"""


@pytest.fixture
def write_peer(tmp_path, monkeypatch):
    """Make the text of a module importable as `peer` in the processes of a run."""
    def write_peer(text):
        (tmp_path / "peer.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return write_peer


@pytest.fixture
def record(write_peer):
    """Run one short scenario on asyncio's loop and on the one of a module's text."""
    def record(text, names=("peer",), missing=None):
        write_peer(text)
        cores = os.sched_getaffinity(0)
        settings = comparison.Settings(
            loops=["asyncio", *names], extra_loops=[], missing=missing or {},
            baseline="asyncio", rounds=2, slice_seconds=0.02, server_cores=cores,
            client_cores=cores, count_calls=False)
        scenario, = catalogue.select(["sleep-zero"], full=False, quick=False)
        with comparison.Comparison(settings, {}, lambda text: None) as measuring:
            return measuring.run(scenario)
    return record


@pytest.fixture
def measure(record):
    return lambda *arguments: record(*arguments)["loops"]


@pytest.fixture
def check(write_peer, tmp_path):
    """Answer and messages of the check of loops before a run."""
    def check(names, must_work=()):
        write_peer(PICKY)
        said = []
        answer = preflight.check_loops(names, must_work, Scratch(str(tmp_path)),
                                       os.sched_getaffinity(0), said.append)
        return *answer, said
    return check


def assert_asyncio_was_measured(results):
    assert "error" not in results["asyncio"]
    assert len(results["asyncio"]["samples"]) == 2


@pytest.mark.parametrize("runs", [0, 1, 3])
def test_a_loop_that_dies(measure, runs):
    results = measure(DYING.format(runs=runs))
    assert results["peer"]["error"] == "process ended: out of luck"
    assert_asyncio_was_measured(results)


def test_a_loop_that_hangs(measure, monkeypatch):
    def patience(child):
        # The other loop's process may need long on a busy machine.
        return 3.0 if '"loop": "peer"' in child.process.args[-1] else 60.0

    monkeypatch.setattr(Child, "patience_seconds", property(patience))
    results = measure(HANGING)
    assert results["peer"]["error"] == "no answer within 3 s"
    assert_asyncio_was_measured(results)


def test_a_loop_that_is_not_there(measure):
    results = measure("raise ImportError('no such loop')")
    assert results["peer"]["error"].endswith("ImportError: no such loop")
    assert_asyncio_was_measured(results)


def test_a_backend_that_cannot_be_made_is_missing_with_its_reason(check):
    names = ["peer", "peer:backend=epoll"]
    usable, missing, said = check(names, must_work=["peer"])
    assert usable == ["peer"]
    assert missing == {"peer:backend=epoll": "ValueError: no backend epoll here"}
    assert said == ["peer:backend=epoll is missing: ValueError: no backend epoll here"]


def test_a_plain_loop_that_was_asked_for_must_work(check):
    with pytest.raises(BenchmarkError, match="no_such_loop does not start here"):
        check(["no_such_loop"], must_work=["no_such_loop"])


def test_a_baseline_with_options_must_work(check):
    with pytest.raises(BenchmarkError, match="no backend epoll here"):
        check(["peer:backend=epoll"], must_work=["peer:backend=epoll"])


@pytest.mark.parametrize(("name", "result", "asked", "failed"), [
    ("peer", {}, True, False),
    ("peer", {"error": "it died"}, False, False),
    ("uring_loop", {"error": "it died"}, False, True),
    (loops.EPOLL, {"error": "none here", "missing": True}, False, False),
    (loops.EPOLL, {"error": "none here", "missing": True}, True, True),
])
def test_which_errors_fail_a_run(name, result, asked, failed):
    records = [{"loops": {name: result}}]
    assert comparison.has_failed(records, ["peer"], asked) == failed


def test_a_plain_loop_that_nobody_asked_for_is_left_out(check):
    usable, missing, said = check(["no_such_loop", "peer"])
    assert (usable, missing) == (["peer"], {})
    assert "run: pip install no_such_loop" in said[0]


def test_a_missing_backend_has_its_row_in_every_table(record):
    stored = record(PICKY, missing={loops.EPOLL: "ValueError: none here"})
    assert_asyncio_was_measured(stored["loops"])
    assert stored["loops"][loops.EPOLL]["missing"]
    assert rows.cells(stored, loops.EPOLL)[:2] == ["ours, epoll",
                                                   "missing: ValueError: none here"]
    assert "ours, epoll missing: ValueError: none here" in rows.summary(stored)
    stored["host"] = {"date": "", "commit": "", "kernel": "", "cpu": "", "cpus": 1,
                      "python": "", "libc": ""}
    records = {stored["name"]: stored}
    assert "missing: ValueError: none here" in performance.markdown(records, {})
    assert goals.epoll_verdict(records).below == [stored]
    assert sections.epoll_sentence(records) == (
        "The epoll driver is missing: ValueError: none here.")
