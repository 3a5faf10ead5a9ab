"""Counters that the kernel keeps for a measured process: CPU time, memory, delays."""

import os
import time

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
    """The share of a slice that other processes or the hypervisor took.

    A measured process has a core of its own. Time in which it could run and did not
    was taken by another process (schedstat) or by the hypervisor (steal).
    """

    def __init__(self, pids, cores):
        self._pids = pids
        self._core_names = {f"cpu{core}" for core in cores}
        self._start = time.monotonic()
        self._before = self._lost_seconds()

    def share(self):
        """The largest share of the time since the start that was lost."""
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


def wakeups(pid):
    """Voluntary context switches of a process with one thread: one per sleep."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith("voluntary_ctxt_switches:"):
                return int(line.split()[1])
    raise RuntimeError("no voluntary_ctxt_switches line in status")


def anonymous_kib(pid):
    """Private memory of a process: its heap and stacks, not its mapped files."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        for line in lines:
            if line.startswith("Anonymous:"):
                return int(line.split()[1])
    raise RuntimeError("no Anonymous line in smaps_rollup")
