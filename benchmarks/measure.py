"""What is read from the kernel about a measured process, and about this machine."""

import datetime
import os
import platform
import re
import subprocess
import sys
import time

from benchmarks.process import ROOT

CPUCLOCK_SCHED = 2
STEAL_FIELD = 7
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_ns(pid):
    """CPU time of all threads of a process so far, ended threads included.

    The clock that clock_getcpuclockid(3) names: exact to the nanosecond, where
    utime and stime of /proc/PID/stat move in steps of ten milliseconds.
    """
    return time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)


class Disturbance:
    """How much others held up a slice: processes here, guests of the same host.

    A measured process has a core of its own. Time in which it could run and did not
    was taken by another process (schedstat) or by the hypervisor (steal).
    """

    def __init__(self, pids, cores):
        self._pids = pids
        self._core_names = {f"cpu{core}" for core in cores}
        self._start = time.monotonic()
        self._before = self._lost_seconds()

    def share(self):
        """The largest share of the time since the start that somebody lost."""
        elapsed = time.monotonic() - self._start
        lost = zip(self._lost_seconds(), self._before)
        return max(after - before for after, before in lost) / elapsed

    def _lost_seconds(self):
        lost = []
        for pid in self._pids:
            with open(f"/proc/{pid}/schedstat") as text:
                lost.append(int(text.read().split()[1]) / 1e9)
        with open("/proc/stat") as lines:
            for line in lines:
                name, *ticks = line.split()
                if name in self._core_names:
                    lost.append(int(ticks[STEAL_FIELD]) / TICKS_PER_SECOND)
        return lost


def anonymous_kib(pid):
    """Private memory of a process: its heap and stacks, not its mapped files."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        for line in lines:
            if line.startswith("Anonymous:"):
                return int(line.split()[1])
    raise RuntimeError("no Anonymous line in smaps_rollup")


def machine_facts():
    """Where and on what a run was made, for the head of the report."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": _commit(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "implementation": sys.version.partition("[")[2].rstrip("]"),
        "libc": " ".join(platform.libc_ver()),
    }


def _cpu_model():
    with open("/proc/cpuinfo") as text:
        match = re.search(r"^model name\s*:\s*(.+)$", text.read(), re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or "unknown"


def _commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], text=True,
                              capture_output=True, timeout=10)
    try:
        head = git("rev-parse", "--short=12", "HEAD")
    except OSError:
        return "unknown (git is not installed)"
    if head.returncode:
        return "no commit yet"
    changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    return head.stdout.strip() + (" with local changes" if changed else "")
