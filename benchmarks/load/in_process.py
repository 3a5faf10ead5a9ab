"""Runners without a load client: micro bodies, and the start of a loop."""

import contextlib
import socket
import subprocess
import time

from benchmarks.load.runner import Runner, Sample
from benchmarks.measure import counters, programs
from benchmarks.measure.processes import (BenchmarkError, pin_and_tie, python_child,
                                          stopping)

REDIS_SECONDS = 10.0
SLEEP_US = 1000.0
LATENESS_FLOOR_US = 0.1


class MicroRunner(Runner):
    """Runs a body of scenarios/micro.py in one process per loop."""

    def order(self):
        arguments = ([self.redis_port] if self.uses_redis
                     else self.scenario.arguments)
        return {"task": "micro", "kind": self.scenario.kind, "arguments": arguments}

    @property
    def uses_redis(self):
        return self.scenario.kind.startswith("redis")

    def start(self, names):
        if self.uses_redis:
            self._start_redis()
        return super().start(names)

    def watched(self, name):
        # The body waits for processes of its own on the same core: no disturbance.
        return [] if self.scenario.kind == "subprocess" else [self.pid(name)]

    def slice(self, name, seconds):
        if self.uses_redis:
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
        before = counters.wakeups(self.redis_pid)
        sample = self._timed_body(name, seconds)
        after = counters.wakeups(self.redis_pid)
        sample.wakeups = (after - before) / sample.requests
        return sample

    def _start_redis(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [programs.need_program("redis-server"), "--port", str(port), "--bind",
             "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd=self.scratch.path,
            preexec_fn=pin_and_tie(self.client_cores))
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        _wait_until_it_listens(port, server)
        self.redis_port, self.redis_pid = port, server.pid


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


def _wait_until_it_listens(port, process):
    deadline = time.monotonic() + REDIS_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise BenchmarkError("redis-server did not start")
