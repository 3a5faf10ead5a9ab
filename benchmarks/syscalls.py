"""Count the system calls of a process while something else loads it.

Two passes, neither inside a timed slice. `perf stat` on the raw_syscalls tracepoint
gives the number and hardly slows the server. `strace -f -c` names the calls; a
server under strace is so slow that it finds more work in each iteration, so its
number is used only where perf cannot be.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

from benchmarks.process import BenchmarkError, pin_and_tie

PERF_EVENT = "raw_syscalls:sys_enter"
TOOL_SECONDS = 10.0
# strace's summary: share, seconds, usecs/call, calls, [errors], name.
STRACE_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")


@dataclass
class CallCount:
    per_request: float
    tool: str
    names: dict = field(default_factory=dict)   # calls per request, by name


class CallCounter:
    """Runs the passes with whatever of perf and strace works here."""

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
                capture_output=True, text=True, timeout=TOOL_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return bool(re.search(r"^\d+,", result.stderr, re.MULTILINE))

    def _start(self, arguments, **options):
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=pin_and_tie(self._cores), **options)

    def _with_perf(self, pid, load):
        output = self._scratch.file("perf")
        with _control_pipes() as (control, acknowledge, own_end, answer_end):
            tool = self._start(
                ["perf", "stat", "-x,", "-D", "-1", "-e", PERF_EVENT, "-p", str(pid),
                 "-o", output, "--control", f"fd:{control},{acknowledge}"],
                pass_fds=(control, acknowledge))
            with _ending(tool):
                for command in (b"enable\n", b"disable\n"):
                    if command == b"disable\n":
                        requests = load()
                    os.write(own_end, command)
                    _wait_for(answer_end, b"ack", "perf")
        with open(output) as text:
            match = re.search(r"^(\d+|<not counted>),", text.read(), re.MULTILINE)
        if not match:
            raise BenchmarkError("perf stat wrote no count")
        calls = int(match.group(1)) if match.group(1).isdigit() else 0
        return calls / max(1, requests)

    def with_strace(self, pid, load):
        output = self._scratch.file("strace")
        tool = self._start(["strace", "-f", "-c", "-p", str(pid), "-o", output])
        with _ending(tool):
            _wait_for(tool.stderr.fileno(), b"attached", "strace")
            requests = load()
        names = {}
        with open(output) as lines:
            for line in lines:
                match = STRACE_ROW.match(line)
                if match and match.group(2) != "total":
                    names[match.group(2)] = int(match.group(1)) / max(1, requests)
        return names


@contextlib.contextmanager
def _control_pipes():
    control, own_end = os.pipe()
    answer_end, acknowledge = os.pipe()
    try:
        yield control, acknowledge, own_end, answer_end
    finally:
        for fd in (control, own_end, answer_end, acknowledge):
            os.close(fd)


@contextlib.contextmanager
def _ending(tool):
    """Both tools write their summary on SIGINT; they get no second chance."""
    try:
        yield
        tool.send_signal(signal.SIGINT)
        tool.wait(TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{tool.args[0]} did not stop") from None
    finally:
        tool.kill()
        tool.wait()
        tool.stderr.close()


def _wait_for(fd, word, tool):
    deadline = time.monotonic() + TOOL_SECONDS
    seen = b""
    while word not in seen:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise BenchmarkError(f"{tool} did not attach within {TOOL_SECONDS:.0f} s")
        data = os.read(fd, 4096)
        if not data:
            raise BenchmarkError(f"{tool}: {seen.decode(errors='replace').strip()}")
        seen += data
