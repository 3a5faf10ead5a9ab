"""Base of all runners: one process per loop, one slice at a time.

A runner holds the processes of one scenario, for all loops at once. `start(names)`
answers what went wrong for which loop; `slice(name, seconds)` loads one loop while
the others wait, and returns a Sample.
"""

import contextlib
from dataclasses import dataclass

from benchmarks.measure import counters
from benchmarks.measure.processes import BenchmarkError, python_child, stopping


@dataclass
class Sample:
    value: float                    # in the scenario's unit
    requests: int = 0
    cpu_us: float | None = None     # of the measured process, per request
    p50_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    wakeups: float | None = None        # of the client, per request
    client_busy: float | None = None    # share of the slice the client computed
    beside: float | None = None     # MiB/s of what ran beside the requests
    disturbed: float = 0.0          # share of the time lost to others, see counters


class Runner:
    counts_calls = True

    def __init__(self, scenario, scratch, server_cores, client_cores):
        self.scenario = scenario
        self.scratch = scratch
        self.server_cores = server_cores
        self.client_cores = client_cores
        self.children = {}
        self.facts = {}
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def order(self):
        """The order for scenarios/worker.py, without the name of the loop."""
        raise NotImplementedError

    def rounds(self, asked):
        return asked

    def pid(self, name):
        return self.children[name].pid

    def start(self, names):
        """Start a process per loop; answers {name: error} for those that failed."""
        for name in names:
            child = python_child({"loop": name, **self.order()}, self.server_cores,
                                 self.scratch)
            self.children[name] = self.stack.enter_context(stopping(child))
        errors = {}
        for name in names:
            try:
                answer = self.children[name].answer()
                self.facts[name] = answer["loop"]
                self.ready(name, answer)
            except BenchmarkError as error:
                errors[name] = self.stop_failed(name, error)
        return errors

    def ready(self, name, answer):
        """Called once the process of a loop has answered; connects a client, say."""

    def stop_failed(self, name, error):
        """Kill the process of a failed loop, which may spin; answers the reason."""
        child = self.children.get(name)
        if child is None:
            return str(error)
        ended = child.process.poll() is not None
        child.process.kill()
        words = child.error_output()
        # An OSError comes from /proc: the process has ended.
        return f"process ended: {words}" if ended or isinstance(error, OSError) \
            else str(error)

    def prepared(self, name):
        """Context of each slice: holds what has to be alive beside the load."""
        return contextlib.nullcontext()

    def warm_up(self, name, seconds):
        self.slice(name, seconds)

    def slice(self, name, seconds):
        raise NotImplementedError

    def watched(self, name):
        """Processes whose delays count as a disturbance of the slice."""
        return [self.pid(name)]

    def timed(self, name, load):
        """Sample of `load()`, which answers {"requests", "seconds", ...}."""
        pid = self.pid(name)
        disturbance = counters.Disturbance(self.watched(name),
                                          self.server_cores | self.client_cores)
        before_ns = counters.cpu_ns(pid)
        answer = load()
        used_ns = counters.cpu_ns(pid) - before_ns
        requests = answer["requests"]
        if not requests:
            raise BenchmarkError("no request was answered")
        return Sample(value=requests / answer["seconds"], requests=requests,
                      cpu_us=used_ns / requests / 1000,
                      p50_us=answer.get("p50_ns", 0) / 1000 or None,
                      p99_us=answer.get("p99_ns", 0) / 1000 or None,
                      p999_us=answer.get("p999_ns", 0) / 1000 or None,
                      disturbed=round(disturbance.share(), 4))
