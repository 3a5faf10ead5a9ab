"""Measure all loops of a scenario side by side, in short slices in shuffled order."""

import os
import random
import tempfile
from dataclasses import dataclass

from benchmarks.judge import goals
from benchmarks.load.c_client import FairnessRunner, LoadRunner, MemoryRunner
from benchmarks.load.in_process import MicroRunner, StartupRunner
from benchmarks.load.wrk import HttpRunner
from benchmarks.measure.processes import BenchmarkError, Scratch
from benchmarks.measure.sampling import Sampler
from benchmarks.measure.syscalls import CallCounter
from benchmarks.scenarios import loops

LEAST_SAMPLED_SECONDS = 0.5

RUNNERS = {"load": LoadRunner, "fair": FairnessRunner, "http": HttpRunner,
           "micro": MicroRunner, "memory": MemoryRunner, "startup": StartupRunner}


@dataclass
class Settings:
    loops: list
    extra_loops: list       # measured only where there is a goal
    missing: dict           # {name: reason} of loops that cannot be made here
    baseline: str
    rounds: int
    slice_seconds: float
    server_cores: frozenset
    client_cores: frozenset
    count_calls: bool
    busy: bool = False      # a process computes beside the load on each core


class Comparison:
    """Measures scenarios; `tell(text)` is called before each step that takes time."""

    def __init__(self, settings, facts, tell):
        self._settings = settings
        self._facts = facts
        self._tell = tell
        self._folder = tempfile.TemporaryDirectory(prefix="uring_loop-bench-")
        self._scratch = Scratch(self._folder.name)
        self.counter = self.sampler = None
        if settings.count_calls:
            self.counter = CallCounter(self._scratch, settings.client_cores)
            self.sampler = Sampler(self._scratch, settings.client_cores)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._folder.cleanup()

    def run(self, scenario):
        """The record of one scenario, in the format of store.py."""
        settings = self._settings
        names = _loops_of(scenario, settings)
        results = {name: {"samples": []} for name in names}
        for name in settings.missing:
            results[name] = {"samples": [], "missing": True,
                             "error": settings.missing[name]}
        names = [name for name in names if name not in settings.missing]
        runner_type = RUNNERS[scenario.runner]
        with runner_type(scenario, self._scratch, settings.server_cores,
                        settings.client_cores) as runner:
            self._tell("starting")
            for name, error in runner.start(names).items():
                results[name]["error"] = error
            self._each(runner, results, "warming up", lambda name: runner.warm_up(
                name, settings.slice_seconds))
            rounds = runner.rounds(settings.rounds)
            for number in range(rounds):
                self._round(runner, results, f"round {number + 1} of {rounds}")
            if self.counter and runner.counts_calls:
                counted = {name: results[name] for name in names
                           if name not in settings.extra_loops}
                self._each(runner, counted, "counting system calls",
                           lambda name: self._count(runner, name, results[name]))
                if self.sampler.works:
                    self._each(runner, counted, "taking samples",
                               lambda name: self._sample(runner, name, results[name]))
            for name in runner.facts:
                results[name]["facts"] = runner.facts[name]
        return {**_scenario_facts(scenario), "host": self._facts, "rounds": rounds,
                "slice_seconds": settings.slice_seconds, "busy": settings.busy,
                "baseline": settings.baseline, "loops": results}

    def _round(self, runner, results, text):
        def measure(name):
            sample = runner.slice(name, self._settings.slice_seconds)
            results[name]["samples"].append(
                {key: _short(value) for key, value in vars(sample).items()})
        self._each(runner, results, text, measure)

    def _each(self, runner, results, text, step):
        """Do one step for every loop without an error, in a new random order."""
        self._tell(text)
        names = [name for name in results if "error" not in results[name]]
        for name in random.sample(names, len(names)):
            try:
                with runner.prepared(name):
                    step(name)
            except (BenchmarkError, OSError) as error:
                results[name]["error"] = runner.stop_failed(name, error)

    def _count(self, runner, name, result):
        seconds = self._settings.slice_seconds
        try:
            count = self.counter.count(runner.pid(name),
                                       lambda: runner.slice(name, seconds).requests)
        except BenchmarkError as error:
            # The timed slices are complete; only the calls column stays empty.
            self._tell(f"{name}: system calls not counted: {error}")
            return
        if count:
            result["calls"] = {
                "per_request": _short(count.per_request), "tool": count.tool,
                "names": {call: _short(n) for call, n in count.names.items()}}

    def _sample(self, runner, name, result):
        folder = os.path.dirname(runner.facts[name]["file"])
        seconds = max(self._settings.slice_seconds, LEAST_SAMPLED_SECONDS)
        shares = self.sampler.shares(runner.pid(name), folder,
                                     lambda: runner.slice(name, seconds))
        result["shares"] = {part: _short(share) for part, share in shares.items()}


def _loops_of(scenario, settings):
    names = [*settings.loops, *settings.missing]
    if scenario.name in goals.SCENARIOS:
        names += settings.extra_loops
    modules = {loops.parse(name).module for name in names}
    return list(dict.fromkeys([*names, *(
        name for name in scenario.variants
        if loops.parse(name).module in modules and loops.is_installed(name))]))


def has_failed(records, peers, asked):
    """Whether an error fails the run.

    What a peer cannot do is a result like any other. So is a backend that is missing
    here, unless the loops were `asked` for by name.
    """
    return any("error" in result and (asked or not result.get("missing"))
               for record in records for name, result in record["loops"].items()
               if name not in peers)


def _short(value):
    """Round to six digits, more than the measurement can resolve."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _scenario_facts(scenario):
    return {key: getattr(scenario, key) for key in (
        "name", "title", "group", "unit", "higher_is_better", "chart",
        "connections")}
