"""HTTP servers loaded by wrk."""

import re
import subprocess

from benchmarks import tools
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError, pin_and_tie

# wrk counts in whole seconds, so its slices are longer and its rounds fewer.
WRK_SECONDS = 1
LIMIT_SECONDS = 20.0
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


class HttpBench(Bench):
    def order(self):
        return {"task": "serve", "kind": self.scenario.kind, "path": "",
                "certificate": ""}

    def rounds(self, asked):
        return (asked + 1) // 2

    def start(self, names):
        self.wrk = tools.need_program("wrk")
        self.ports = {}
        return super().start(names)

    def ready(self, name, answer):
        self.ports[name] = answer["port"]

    def slice(self, name, seconds):
        return self.timed(name, lambda: self._run(self.ports[name]))

    def _run(self, port):
        try:
            result = self._wrk(port)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"wrk did not end in {LIMIT_SECONDS:.0f} s") from None
        return parse(result.stdout + result.stderr)

    def _wrk(self, port):
        return subprocess.run(
            [self.wrk, "-t1", f"-c{self.scenario.connections}", f"-d{WRK_SECONDS}s",
             "--latency", f"http://127.0.0.1:{port}/"],
            capture_output=True, text=True, timeout=LIMIT_SECONDS,
            start_new_session=True, preexec_fn=pin_and_tie(self.client_cores))


def parse(text):
    """Requests, seconds and latencies out of wrk's report."""
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
