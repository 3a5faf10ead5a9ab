"""Count system calls and instructions of hot paths; compare with a reference.

    python -m benchmarks.regress             compare; non-zero if a path costs more
    python -m benchmarks.regress --update    write what is measured as the reference

Counts only, no times, so it may run on a machine that is busy. What is measured is the
installed package. Needs strace, and a C compiler for the load client. Instructions are
counted where valgrind is installed, and compared where this version of Python has a
reference, since half of them are Python's own.
"""

import argparse
import os
import platform
import shutil
import tempfile
import tomllib
from pathlib import Path

from benchmarks.load.c_client import LoadRunner
from benchmarks.load.in_process import MicroRunner
from benchmarks.measure import instructions
from benchmarks.measure.processes import BenchmarkError, Scratch
from benchmarks.measure.programs import need_program
from benchmarks.measure.syscalls import CallCounter
from benchmarks.scenarios import catalogue

REFERENCE = Path(__file__).with_name("regress.toml")
LOOP = "uring_loop:backend={}"
SLICE_SECONDS = 0.3
SCENARIOS = ("tcp-protocol-1-1k", "tcp-protocol-64-1k", "udp-64-512",
             "tcp-sock-64-1k", "sleep-zero", "threadsafe", "connect-close")
PATHS = tuple(f"{name}@{driver}" for driver in ("io_uring", "epoll")
              for name in SCENARIOS)
COUNTED = LOOP.format("io_uring")
COUNTED_BODIES = ("sleep-zero", "call-soon-burst", "timer-churn", "task-gather")
INSTRUCTIONS_TOLERANCE = 0.05
PYTHON = platform.python_version()
# Depends on how the threads of a path compete for the GIL; and Python 3.11 asks for its
# process with each get_running_loop().
NOT_OURS = ("futex", "sched_yield", "getpid")

HEADER = """\
# Written by `python -m benchmarks.regress --update`. System calls per operation: what
# was measured and, by hand, how much more is allowed, since how many requests one wait
# finds differs from run to run. Instructions per operation: by version of Python.
"""
TOLERANCE = 0.10


def main(arguments=None):
    options = _parse(arguments)
    reference = {"calls": {}, "instructions": {},
                 **tomllib.loads(options.reference.read_text())}
    try:
        worse = [*check_calls(options.calls, reference, options.update),
                 *check_instructions(options.bodies, reference, options.update)]
    except BenchmarkError as error:
        print(f"regress: {error}")
        return 2
    if options.update:
        options.reference.write_text(as_toml(reference))
    return int(bool(worse))


def check_calls(paths, reference, update):
    """Print a line for each path; answers those that became worse."""
    worse = []
    for path in paths:
        names = counted(path)
        calls = sum(names.values())
        entry = reference["calls"].setdefault(path, {"tolerance": TOLERANCE})
        if update:
            entry["calls"] = round(calls, 2)
        is_worse = not within(entry, calls)
        worse += [path] * is_worse
        parts = ", ".join(f"{name} {count:.2f}" for name, count in
                          sorted(names.items(), key=lambda item: -item[1])
                          if count >= 0.01)
        say(path, is_worse, f"{entry['calls']:.2f} + {entry['tolerance']:.2f}",
            f"{calls:.2f} system calls per operation ({parts or 'almost none'})")
    return worse


def check_instructions(bodies, reference, update):
    """The same for instructions, as far as they can be counted here."""
    if bodies and not shutil.which("valgrind"):
        print("instructions are not counted; run: apt install valgrind")
        return []
    entries = reference["instructions"].setdefault(PYTHON, {})
    worse = []
    for body, count in instructions_of(bodies).items():
        if update:
            entries[body] = count
        stored = entries.get(body)
        is_worse = stored is not None and count > stored * (1 + INSTRUCTIONS_TOLERANCE)
        worse += [body] * is_worse
        allowed = (f"none for Python {PYTHON}" if stored is None
                   else f"{stored} + {INSTRUCTIONS_TOLERANCE:.0%}")
        say(body, is_worse, allowed, f"{count} instructions per operation")
    return worse


def say(path, is_worse, allowed, measured):
    print(f"{'WORSE' if is_worse else 'ok   '} {path}: reference {allowed}, "
          f"measured {measured}")


def within(entry, calls):
    return calls <= entry["calls"] + entry["tolerance"]


def counted(path):
    """{system call: how often per operation}, of one path in a fresh process."""
    need_program("strace")
    name, _, driver = path.partition("@")
    scenario, = catalogue.select([name], full=False, quick=False)
    loop = LOOP.format(driver)
    cores = sorted(os.sched_getaffinity(0))
    server, client = {cores[0]}, {cores[-1]}
    runner_type = MicroRunner if scenario.runner == "micro" else LoadRunner
    with tempfile.TemporaryDirectory(prefix="uring_loop-regress-") as folder:
        scratch = Scratch(folder)
        counter = CallCounter(scratch, client)
        with runner_type(scenario, scratch, server, client) as runner:
            for error in runner.start([loop]).values():
                raise BenchmarkError(f"{path}: {error}")
            runner.warm_up(loop, SLICE_SECONDS)
            names = counter.with_strace(
                runner.pid(loop), lambda: runner.slice(loop, SLICE_SECONDS).requests)
    return {name: count for name, count in names.items() if name not in NOT_OURS}


def instructions_of(bodies):
    """{body: instructions per operation}; takes some ten seconds, for any number."""
    if not bodies:
        return {}
    kinds = [scenario.kind for body in bodies
             for scenario in catalogue.select([body], full=False, quick=False)]
    with tempfile.TemporaryDirectory(prefix="uring_loop-regress-") as folder:
        counts = instructions.per_operation(COUNTED, kinds, os.sched_getaffinity(0),
                                            Scratch(folder))
    return {body: round(counts[kind]) for body, kind in zip(bodies, kinds)}


def as_toml(reference):
    parts = [HEADER]
    for path, entry in reference["calls"].items():
        parts.append(f"\n[calls.\"{path}\"]\ncalls = {entry['calls']:.2f}\n"
                     f"tolerance = {entry['tolerance']:.2f}\n")
    for version, entries in reference["instructions"].items():
        parts.append(f'\n[instructions."{version}"]\n')
        parts += [f"{body} = {count}\n" for body, count in entries.items()]
    return "".join(parts)


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regress",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", nargs="*", default=PATHS, metavar="PATH",
                        help=f"system calls of these (default {' '.join(PATHS)})")
    parser.add_argument("--bodies", nargs="*", default=COUNTED_BODIES, metavar="BODY",
                        help="instructions of these (default "
                        f"{' '.join(COUNTED_BODIES)})")
    parser.add_argument("--update", action="store_true",
                        help="write what is measured as the reference")
    parser.add_argument("--reference", type=Path, default=REFERENCE, metavar="FILE")
    options = parser.parse_args(arguments)
    unknown = {*options.calls, *options.bodies} - {*PATHS, *COUNTED_BODIES}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options

