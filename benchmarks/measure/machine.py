"""The machine and the commit that a run was made on, for the head of a page."""

import datetime
import os
import platform
import re
import subprocess
import sys

from benchmarks.measure.processes import ROOT


def machine_facts():
    """Facts of this machine, this Python and this commit, as a flat dict."""
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
