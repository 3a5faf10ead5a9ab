"""Count the system calls of a process while something else loads it.

Two passes, neither inside a timed slice. `perf stat` on the raw_syscalls tracepoint
gives the number and hardly slows the server. `strace -f -c` names the calls; a
server under strace is so slow that it finds more work in each iteration, so its
number is used only where perf cannot be.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field

from benchmarks.measure import tracers
from benchmarks.measure.processes import BenchmarkError

PERF_EVENT = "raw_syscalls:sys_enter"
# strace's summary: share, seconds, usecs/call, calls, [errors], name.
STRACE_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")


@dataclass
class CallCount:
    per_request: float
    tool: str
    names: dict = field(default_factory=dict)   # calls per request, by name


class CallCounter:
    """Runs the passes with perf and strace, as far as they work here."""

    def __init__(self, scratch, cores):
        self._scratch = scratch
        self._cores = cores
        self.perf = self._perf_works()
        self.strace = shutil.which("strace") is not None

    def count(self, pid, load):
        """CallCount of `load()`, which returns the number of requests; or None."""
        perf = self._with_perf(pid, load) if self.perf else None
        names = {}
        if self.strace:
            try:
                names = self.with_strace(pid, load)
            except BenchmarkError:
                # Too slow under strace to answer in time; perf's number stands.
                if perf is None:
                    raise
        if perf is not None:
            return CallCount(perf, "perf", names)
        if names:
            return CallCount(sum(names.values()), "strace", names)
        return None

    def _perf_works(self):
        if not shutil.which("perf"):
            return False
        try:
            result = subprocess.run(
                ["perf", "stat", "-x,", "-e", PERF_EVENT, "true"],
                capture_output=True, text=True, timeout=tracers.TOOL_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return bool(re.search(r"^\d+,", result.stderr, re.MULTILINE))

    def _with_perf(self, pid, load):
        output = self._scratch.file("perf")
        requests = tracers.with_perf(
            ["stat", "-x,", "-e", PERF_EVENT, "-p", str(pid), "-o", output],
            self._cores, load)
        with open(output) as text:
            match = re.search(r"^(\d+|<not counted>),", text.read(), re.MULTILINE)
        if not match:
            raise BenchmarkError("perf stat wrote no count")
        calls = int(match.group(1)) if match.group(1).isdigit() else 0
        return calls / max(1, requests)

    def with_strace(self, pid, load):
        output = self._scratch.file("strace")
        tool = tracers.start(["strace", "-f", "-c", "-p", str(pid), "-o", output],
                            self._cores)
        with tracers.ending(tool):
            tracers.wait_for(tool.stderr.fileno(), b"attached", "strace")
            requests = load()
        names = {}
        with open(output) as lines:
            for line in lines:
                match = STRACE_ROW.match(line)
                if match and match.group(2) != "total":
                    names[match.group(2)] = int(match.group(1)) / max(1, requests)
        return names
