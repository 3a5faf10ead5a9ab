"""Fails each allocation of each operation: python -m tests.nomem [--last N] [--step N]

CPython's allocations fail by _testcapi, its own test module; those of C by a malloc(3)
that is preloaded.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from .lacking import KINDS, preloaded
from .operations import OPERATIONS

DRIVERS = ("io_uring", "epoll")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.nomem")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--last", type=int, default=150)
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        library = preloaded(pathlib.Path(folder))
        for kind in options.kinds.split(","):
            environment = os.environ | ({"LD_PRELOAD": library} if kind == "c" else {})
            for operation in options.operations.split(","):
                for driver in options.drivers.split(","):
                    failed |= walk(kind, operation, driver, options, environment)
    return failed


def walk(kind, operation, driver, options, environment):
    command = ["nice", sys.executable, "-W", "ignore", "-m", "tests.nomem.child",
               kind, operation, driver, "0", str(options.step), str(options.last)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=environment)
    print(f"{'FAILED' if done.returncode else 'ok':7} {operation} on {driver}, "
          f"allocations of {kind}", flush=True)
    if done.returncode:
        print(done.stdout[-6000:], flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
