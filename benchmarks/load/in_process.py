"""Runners without a load client: micro bodies, and the start of a loop."""

from benchmarks.load import peers
from benchmarks.load.runner import Runner, Sample
from benchmarks.measure import counters, programs
from benchmarks.measure.processes import BenchmarkError, python_child, stopping

SLEEP_US = 1000.0
LATENESS_FLOOR_US = 0.1


class MicroRunner(Runner):
    """Runs a body of scenarios/micro.py in one process per loop."""

    peer_port = peer_pid = None

    def order(self):
        arguments = [self.peer_port] if self.peer_port else self.scenario.arguments
        if self.scenario.secure:
            arguments = [programs.certificate(self.scratch)]
        return {"task": "micro", "kind": self.scenario.kind, "arguments": arguments}

    def start(self, names):
        peer = peers.start(self.scenario.kind, self.client_cores, self.stack)
        if peer is not None:
            self.peer_port, self.peer_pid = peer
        return super().start(names)

    def watched(self, name):
        # The body waits for processes of its own on the same core: no disturbance.
        return [] if self.scenario.kind == "subprocess" else [self.pid(name)]

    def slice(self, name, seconds):
        if self.scenario.kind.startswith("redis"):
            return self._redis_slice(name, seconds)
        sample = self._timed_body(name, seconds)
        if self.scenario.kind == "short_sleep":
            late_us = 1e6 / sample.value - SLEEP_US
            sample.value = max(LATENESS_FLOOR_US, late_us)
        return sample

    def _timed_body(self, name, seconds):
        return self.timed(name, lambda: self.children[name].ask(f"{seconds:.3f}"))

    def _redis_slice(self, name, seconds):
        """A slice that also counts the wake-ups of the Redis server, the peer here."""
        before = counters.wakeups(self.peer_pid)
        sample = self._timed_body(name, seconds)
        after = counters.wakeups(self.peer_pid)
        sample.wakeups = (after - before) / sample.requests
        return sample


class StartupRunner(Runner):
    """Starts a fresh process for each slice; it times the start of its loop."""

    counts_calls = False

    def start(self, names):
        errors = {}
        for name in names:
            try:
                self.slice(name, 0)
            except BenchmarkError as error:
                errors[name] = str(error)
        return errors

    def slice(self, name, seconds):
        child = python_child({"task": "startup", "loop": name}, self.server_cores,
                             self.scratch)
        with stopping(child):
            answer = child.answer()
        self.facts[name] = answer["loop"]
        return Sample(value=answer["seconds"] * 1000)
