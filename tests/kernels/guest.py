"""What runs in a guest: facts of its kernel, then each part of the tests.

PARTS are the folders of tests, in this order; SECONDS all that they may take. Each
answer is one line on the second serial port.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from . import facts
from .reporter import BEGUN, FINISHED, PORT

LOG = pathlib.Path("/run/log")
# A process that died is followed by another, for the tests that it had not begun.
PROCESSES = 6


def main():
    until = time.monotonic() + float(os.environ["SECONDS"])
    for name, value in facts.all_facts():
        say("fact", [name, value])
    for part in os.environ["PARTS"].split(","):
        start = time.monotonic()
        how = run(part, until)
        say("part", [part, how, round(time.monotonic() - start)])
    say("end", round(until - time.monotonic()))


def run(part, until):
    """How the tests of a part ended."""
    BEGUN.write_text("")
    for _ in range(PROCESSES):
        left = until - time.monotonic()
        if left <= 0:
            return "not begun"
        code = pytest(part, left)
        if code is None:
            return f"no time after {last_begun()}"
        if last_begun() == FINISHED:
            return "done"
        say("died", [part, code, last_begun(), LOG.read_text(errors="replace")[-2500:]])
    return "given up"


def pytest(part, seconds):
    """The process's exit status, None if time was over."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
               "-p", "tests.kernels.reporter", "--tb=short", *paths(part)]
    with LOG.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def paths(part):
    """A part is a folder of tests, or some of its files: parity/test_udp*."""
    found = sorted(pathlib.Path("tests").glob(part + ("" if "test_" in part else "/")))
    return [str(path) for path in found]


def last_begun():
    lines = BEGUN.read_text().splitlines()
    return lines[-1] if lines else "the start"


def say(kind, value):
    with open(PORT, "w") as port:
        port.write(json.dumps([kind, value]) + "\n")


if __name__ == "__main__":
    main()
