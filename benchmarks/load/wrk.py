"""Runner of the HTTP scenarios, whose load comes from wrk."""

import contextlib
import re
import resource
import subprocess

from benchmarks.load import idle
from benchmarks.load.runner import Runner
from benchmarks.measure import programs
from benchmarks.measure.processes import BenchmarkError, pin_and_tie

# wrk runs for whole seconds, so its slices are longer and its rounds fewer.
WRK_SECONDS = 1
LIMIT_SECONDS = 20.0
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


class HttpRunner(Runner):
    def order(self):
        return {"task": "serve", "kind": self.scenario.kind, "path": "",
                "certificate": programs.certificate(self.scratch) if self.secure
                else ""}

    @property
    def secure(self):
        return self.scenario.secure

    def rounds(self, asked):
        return (asked + 1) // 2

    def start(self, names):
        self.wrk = programs.need_program("wrk")
        self.ports = {}
        if self.scenario.idle_connections:
            idle.allow_many_files()
        return super().start(names)

    def ready(self, name, answer):
        self.ports[name] = answer["port"]

    def prepared(self, name):
        count = self.scenario.idle_connections
        if not count:
            return contextlib.nullcontext()
        return idle.connections(("127.0.0.1", self.ports[name]), count)

    def slice(self, name, seconds):
        before = _switches_of_ended_children()
        sample = self.timed(name, lambda: self._run(self.ports[name]))
        # wrk is the only child that ends in a slice.
        sample.wakeups = (_switches_of_ended_children() - before) / sample.requests
        return sample

    def _run(self, port):
        try:
            result = self._wrk(port)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"wrk did not end in {LIMIT_SECONDS:.0f} s") from None
        return parse(result.stdout + result.stderr)

    def _wrk(self, port):
        return subprocess.run(
            [self.wrk, "-t1", f"-c{self.scenario.connections}", f"-d{WRK_SECONDS}s",
             "--latency", f"http{'s' * self.secure}://127.0.0.1:{port}/"],
            capture_output=True, text=True, timeout=LIMIT_SECONDS,
            start_new_session=True, preexec_fn=pin_and_tie(self.client_cores))


def _switches_of_ended_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw


def parse(text):
    """Parse the report of wrk: requests, seconds and latencies."""
    trouble = re.search(r"(Socket errors|Non-2xx).*", text)
    if trouble:
        raise BenchmarkError(f"wrk: {trouble.group().strip()}")
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if not total:
        raise BenchmarkError(f"wrk: {text.strip()[-200:] or 'no output'}")
    answer = {"requests": int(total[1]),
              "seconds": float(total[2]) * MICROSECONDS[total[3]] / 1e6}
    for share, key in ((50, "p50_ns"), (99, "p99_ns")):
        match = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
        if match:
            answer[key] = float(match[1]) * MICROSECONDS[match[2]] * 1000
    return answer
