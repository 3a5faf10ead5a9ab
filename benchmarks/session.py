"""One run: for each scenario all loops side by side, in shuffled short slices."""

import os
import random
import tempfile
from dataclasses import dataclass

from benchmarks import goals, loops
from benchmarks.inside import MicroBench, StartupBench
from benchmarks.load import FairBench, LoadBench, MemoryBench
from benchmarks.process import BenchmarkError, Scratch
from benchmarks.sampling import Sampler
from benchmarks.syscalls import CallCounter
from benchmarks.wrk import HttpBench

LEAST_SAMPLED_SECONDS = 0.5

BENCHES = {"load": LoadBench, "fair": FairBench, "http": HttpBench, "micro": MicroBench,
           "memory": MemoryBench, "startup": StartupBench}


@dataclass
class Settings:
    loops: list
    extra_loops: list       # measured only where there is a goal
    baseline: str
    rounds: int
    slice_seconds: float
    server_cores: frozenset
    client_cores: frozenset
    count_calls: bool


class Session:
    """Measures scenarios; `tell(text)` hears about each step that takes time."""

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
        """The stored form of one scenario: see store.py."""
        settings = self._settings
        names = _loops_of(scenario, settings)
        results = {name: {"samples": []} for name in names}
        bench_type = BENCHES[scenario.runner]
        with bench_type(scenario, self._scratch, settings.server_cores,
                        settings.client_cores) as bench:
            self._tell("starting")
            for name, error in bench.start(names).items():
                results[name]["error"] = error
            self._each(bench, results, "warming up", lambda name: bench.warm_up(
                name, settings.slice_seconds))
            rounds = bench.rounds(settings.rounds)
            for number in range(rounds):
                self._round(bench, results, f"round {number + 1} of {rounds}")
            if self.counter and bench.counts_calls:
                counted = {name: results[name] for name in names
                           if name not in settings.extra_loops}
                self._each(bench, counted, "counting system calls",
                           lambda name: self._count(bench, name, results[name]))
                if self.sampler.works:
                    self._each(bench, counted, "taking samples",
                               lambda name: self._sample(bench, name, results[name]))
            for name in bench.facts:
                results[name]["facts"] = bench.facts[name]
        return {**_scenario_facts(scenario), "host": self._facts, "rounds": rounds,
                "slice_seconds": settings.slice_seconds,
                "baseline": settings.baseline, "loops": results}

    def _round(self, bench, results, text):
        def measure(name):
            sample = bench.slice(name, self._settings.slice_seconds)
            results[name]["samples"].append(
                {key: _short(value) for key, value in vars(sample).items()})
        self._each(bench, results, text, measure)

    def _each(self, bench, results, text, step):
        """Do one step for every loop that still works, in a new random order."""
        self._tell(text)
        names = [name for name in results if "error" not in results[name]]
        for name in random.sample(names, len(names)):
            try:
                step(name)
            except (BenchmarkError, OSError) as error:
                results[name]["error"] = bench.give_up(name, error)

    def _count(self, bench, name, result):
        seconds = self._settings.slice_seconds
        try:
            count = self.counter.count(bench.pid(name),
                                       lambda: bench.slice(name, seconds).requests)
        except BenchmarkError as error:
            # The timed slices are complete; only this column stays empty.
            self._tell(f"{name}: system calls not counted: {error}")
            return
        if count:
            result["calls"] = {
                "per_request": _short(count.per_request), "tool": count.tool,
                "names": {call: _short(n) for call, n in count.names.items()}}

    def _sample(self, bench, name, result):
        folder = os.path.dirname(bench.facts[name]["file"])
        seconds = max(self._settings.slice_seconds, LEAST_SAMPLED_SECONDS)
        shares = self.sampler.shares(bench.pid(name), folder,
                                     lambda: bench.slice(name, seconds))
        result["shares"] = {part: _short(share) for part, share in shares.items()}


def _loops_of(scenario, settings):
    names = list(settings.loops)
    if scenario.name in goals.SCENARIOS:
        names += settings.extra_loops
    modules = {loops.parse(name).module for name in names}
    return list(dict.fromkeys([*names, *(
        name for name in scenario.variants if loops.parse(name).module in modules)]))


def _short(value):
    """Six digits are more than any of these numbers is good for."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _scenario_facts(scenario):
    return {key: getattr(scenario, key) for key in (
        "name", "title", "group", "unit", "higher_is_better", "chart",
        "connections")}
