"""Where the processor time of a server goes: kernel, Python, the loop, the rest.

Samples by the clock (`perf record -e cpu-clock`), which every machine can take, in a
pass of its own.
"""

import os
import re
import shutil
import subprocess

from benchmarks import attach

SAMPLES_PER_SECOND = 4000
KERNEL = "[kernel"
ROW = re.compile(r"^\s*([\d.]+)%\s*,(\S+)\s*$", re.MULTILINE)
# The interpreter, its C modules and what links them.
PYTHON = re.compile(r"^(libpython|python3|ld-linux|_asyncio\.|_ssl\.|\w+\.cpython-)")


class Sampler:
    """Takes samples with perf, where that works."""

    def __init__(self, scratch, cores):
        self._scratch = scratch
        self._cores = cores
        self.works = self._works()

    def shares(self, pid, folder, load):
        """{part: share of the time} of a process during `load()`.

        Compiled modules that lie in `folder` are the loop.
        """
        output = self._scratch.file("samples")
        attach.with_perf(
            ["record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND),
             "-p", str(pid), "-o", output], self._cores, load)
        text = subprocess.run(
            ["perf", "report", "-i", output, "--sort", "dso", "--stdio", "-t", ","],
            capture_output=True, text=True, timeout=attach.TOOL_SECONDS).stdout
        os.unlink(output)
        return by_part(text, set(os.listdir(folder)))

    def _works(self):
        if not shutil.which("perf"):
            return False
        output = self._scratch.file("samples")
        return not subprocess.run(
            ["perf", "record", "-q", "-e", "cpu-clock", "-o", output, "true"],
            capture_output=True, timeout=attach.TOOL_SECONDS).returncode


def by_part(text, loop_files):
    """Sum perf's lines, one for each file of code."""
    parts = {"kernel": 0.0, "python": 0.0, "loop": 0.0, "other": 0.0}
    for percent, name in ROW.findall(text):
        if name.startswith(KERNEL):
            part = "kernel"
        elif name in loop_files:
            part = "loop"
        else:
            part = "python" if PYTHON.match(name) else "other"
        parts[part] += float(percent) / 100
    return parts
