"""Count the system calls of the hottest paths and compare with a stored reference.

    python -m benchmarks.regress             compare; non-zero if a path costs more
    python -m benchmarks.regress --update    write what is measured as the reference

Counts only, no times, so it may run on a machine that is busy. What is measured is the
installed package. Needs strace, and a C compiler for the load client.
"""

import argparse
import os
import sys
import tempfile
import tomllib
from pathlib import Path

from benchmarks import scenarios
from benchmarks.inside import MicroBench
from benchmarks.load import LoadBench
from benchmarks.process import BenchmarkError, Scratch
from benchmarks.syscalls import CallCounter
from benchmarks.tools import need_program

REFERENCE = Path(__file__).with_name("regress.toml")
LOOP = "uring_loop:backend=io_uring"
SLICE_SECONDS = 0.3
PATHS = ("tcp-protocol-1-1k", "tcp-protocol-64-1k", "udp-64-512", "tcp-sock-64-1k",
         "sleep-zero", "threadsafe")
# How many threads fight for the GIL decides how often they call this.
NOT_OURS = ("futex", "sched_yield")

HEADER = """\
# System calls per operation of the hottest paths, written by
# `python -m benchmarks.regress --update`: what was measured and, by hand, how much
# more is allowed. How many requests one wait finds differs from run to run.
"""
TOLERANCE = 0.10


def main(arguments=None):
    options = _parse(arguments)
    reference = tomllib.loads(options.reference.read_text())
    try:
        counts = {path: counted(path) for path in options.paths}
    except BenchmarkError as error:
        print(f"regress: {error}")
        return 2
    if options.update:
        reference |= updated(reference, counts)
        options.reference.write_text(as_toml(reference))
    worse = [path for path, names in counts.items()
             if not within(reference[path], sum(names.values()))]
    for path, names in counts.items():
        print(line(path, reference[path], names, path in worse))
    return int(bool(worse))


def within(entry, calls):
    return calls <= entry["calls"] + entry["tolerance"]


def updated(reference, counts):
    """New entries; the tolerance of a path that had one stays."""
    return {path: {"calls": round(sum(names.values()), 2),
                   "tolerance": reference.get(path, {}).get("tolerance", TOLERANCE)}
            for path, names in counts.items()}


def line(path, entry, names, is_worse):
    parts = ", ".join(f"{name} {count:.2f}" for name, count in
                      sorted(names.items(), key=lambda item: -item[1])
                      if count >= 0.01)
    verdict = "WORSE" if is_worse else "ok   "
    return (f"{verdict} {path}: reference {entry['calls']:.2f} + "
            f"{entry['tolerance']:.2f}, measured {sum(names.values()):.2f} system "
            f"calls per operation ({parts or 'almost none'})")


def counted(path):
    """{system call: how often per operation}, of one path in a fresh process."""
    need_program("strace")
    scenario, = scenarios.select([path], full=False, quick=False)
    cores = sorted(os.sched_getaffinity(0))
    server, client = {cores[0]}, {cores[-1]}
    bench_type = MicroBench if scenario.runner == "micro" else LoadBench
    with tempfile.TemporaryDirectory(prefix="uring_loop-regress-") as folder:
        scratch = Scratch(folder)
        counter = CallCounter(scratch, client)
        with bench_type(scenario, scratch, server, client) as bench:
            for error in bench.start([LOOP]).values():
                raise BenchmarkError(f"{path}: {error}")
            bench.warm_up(LOOP, SLICE_SECONDS)
            names = counter.with_strace(
                bench.pid(LOOP), lambda: bench.slice(LOOP, SLICE_SECONDS).requests)
    return {name: count for name, count in names.items() if name not in NOT_OURS}


def as_toml(reference):
    return HEADER + "".join(
        f"\n[{path}]\ncalls = {entry['calls']:.2f}\n"
        f"tolerance = {entry['tolerance']:.2f}\n"
        for path, entry in reference.items())


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regress",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", default=PATHS, metavar="PATH",
                        help=f"default: {' '.join(PATHS)}")
    parser.add_argument("--update", action="store_true",
                        help="write what is measured as the reference")
    parser.add_argument("--reference", type=Path, default=REFERENCE, metavar="FILE")
    options = parser.parse_args(arguments)
    unknown = set(options.paths) - set(PATHS)
    if unknown:
        parser.error(f"no such path: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
