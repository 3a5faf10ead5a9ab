"""Runs the proofs of the matrix on another loop, each in its own process."""

import importlib.metadata
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from .results import on_loop

AT_ONCE = 6
SECONDS = 30
MISSING = ("NotImplementedError", "AttributeError", "unexpected keyword argument")


def run(name, rows):
    """{"version": …, "tests": {test: outcome}}, in the words of render.WORDS."""
    tests = sorted({row["test"] for row in rows.values()})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(lambda test: outcome(name, test), tests)
    return {"version": importlib.metadata.version(name),
            "tests": dict(zip(tests, outcomes, strict=True))}


def outcome(name, test):
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-rs",
               "-p", "no:cacheprovider", on_loop(test, name)]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PARITY_LOOPS": name}, timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return "skipped" if "\nSKIPPED" in done.stdout else "passed"
    if done.returncode != 1:
        return "dies"
    # What the other loop has seen or raised; lines with "-" are the stock loop's.
    seen = [line for line in done.stdout.splitlines()
            if line.startswith(("E   +", "E   escaped", "E   " + MISSING[0]))]
    missing = any(word in line for line in seen for word in MISSING)
    return "missing" if missing else "differs"
