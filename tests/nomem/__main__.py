"""Fails each allocation of each operation: python -m tests.nomem [--last N] [--step N]

Without _testcapi, CPython's own test module, there is nothing that could fail them.
"""

import argparse
import subprocess
import sys

from .operations import OPERATIONS

DRIVERS = ("io_uring", "epoll")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.nomem")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--last", type=int, default=150)
    options = parser.parse_args()
    failed = 0
    for operation in options.operations.split(","):
        for driver in options.drivers.split(","):
            failed |= walk(operation, driver, options)
    return failed


def walk(operation, driver, options):
    command = ["nice", sys.executable, "-W", "ignore", "-m", "tests.nomem.child",
               operation, driver, "0", str(options.step), str(options.last)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    print(f"{'FAILED' if done.returncode else 'ok':7} {operation} on {driver}",
          flush=True)
    if done.returncode:
        print(done.stdout[-6000:], flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
