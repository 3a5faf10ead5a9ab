"""Scenarios that need no load client: micro bodies, and the start of a loop."""

import contextlib
import socket
import subprocess
import time

from benchmarks import tools
from benchmarks.bench import Bench, Sample
from benchmarks.process import BenchmarkError, pin_and_tie, python_child, stopping

REDIS_SECONDS = 10.0
SLEEP_US = 1000.0
LATENESS_FLOOR_US = 0.1


class MicroBench(Bench):
    """Bodies of micro.py, each in a process that waits between its slices."""

    def order(self):
        arguments = [self.redis_port] if self.scenario.kind == "redis" else []
        return {"task": "micro", "kind": self.scenario.kind, "arguments": arguments}

    def start(self, names):
        if self.scenario.kind == "redis":
            self.redis_port = self._start_redis()
        return super().start(names)

    def watched(self, name):
        # Processes that it starts itself are no disturbance.
        return [] if self.scenario.kind == "subprocess" else [self.pid(name)]

    def slice(self, name, seconds):
        sample = self.timed(name, lambda: self.children[name].ask(f"{seconds:.3f}"))
        if self.scenario.kind == "short_sleep":
            late_us = 1e6 / sample.value - SLEEP_US
            sample.value = max(LATENESS_FLOOR_US, late_us)
        return sample

    def _start_redis(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [tools.need_program("redis-server"), "--port", str(port), "--bind",
             "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd=self.scratch.path,
            preexec_fn=pin_and_tie(self.client_cores))
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        _wait_until_it_listens(port, server)
        return port


class StartupBench(Bench):
    """A fresh process for each slice, which times its own loop's start."""

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
