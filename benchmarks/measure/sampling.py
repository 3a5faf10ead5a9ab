"""Sample the processor time of a server: kernel, Python, the loop, the rest.

Samples by the clock (`perf record -e cpu-clock`), which every machine can take, in a
pass of its own.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.measure import tracers

SAMPLES_PER_SECOND = 4000
KERNEL = "[kernel"
ROW = re.compile(r"^\s*([\d.]+)%\s*,(\S+)\s*$", re.MULTILINE)
# The interpreter, its C modules and the dynamic linker.
PYTHON = re.compile(r"^(libpython|python3|ld-linux|_asyncio\.|_ssl\.|\w+\.cpython-)")


class Sampler:
    """Takes samples with perf, if perf works here."""

    def __init__(self, scratch, cores):
        self._scratch = scratch
        self._cores = cores
        self.works = self._works()

    def shares(self, pid, folder, load):
        """{part: share of the time} of a process during `load()`.

        Compiled modules in `folder`, or in a folder below it, are the loop.
        """
        output = self._scratch.file("samples")
        tracers.with_perf(
            ["record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND),
             "-p", str(pid), "-o", output], self._cores, load)
        text = subprocess.run(
            ["perf", "report", "-i", output, "--sort", "dso", "--stdio", "-t", ","],
            capture_output=True, text=True, timeout=tracers.TOOL_SECONDS).stdout
        os.unlink(output)
        return by_part(text, compiled_files(folder))

    def _works(self):
        if not shutil.which("perf"):
            return False
        output = self._scratch.file("samples")
        return not subprocess.run(
            ["perf", "record", "-q", "-e", "cpu-clock", "-o", output, "true"],
            capture_output=True, timeout=tracers.TOOL_SECONDS).returncode


def compiled_files(folder):
    """Names of the compiled modules of a package, at any depth."""
    return {path.name for path in Path(folder).rglob("*.so")}


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
