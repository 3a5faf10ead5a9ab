"""Busy neighbours: a process that computes on each core, with the least priority."""

import contextlib
import os
import subprocess
import sys

from benchmarks.measure.processes import pin_and_tie

NICE = 19


@contextlib.contextmanager
def computing(cores):
    """Keep a niced process computing on each of the cores meanwhile."""
    with contextlib.ExitStack() as stack:
        for core in sorted(cores):
            process = stack.enter_context(subprocess.Popen(
                [sys.executable, "-c", "while True: pass"],
                preexec_fn=pin_and_tie({core})))
            stack.callback(process.kill)
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        yield
