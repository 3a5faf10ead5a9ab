"""Runs the fuzzers on three drivers: python -m tests.chaos --seconds N --seed S

Each list of steps comes from a seed alone. It runs with io_uring, with epoll, and with
the chaos driver, in child processes. A failing seed shrinks to a short list of steps,
which is printed; --steps runs such a list again.
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import time

from . import build
from .shrink import shrink

DRIVERS = ("io_uring", "epoll", "chaos")
SCENARIOS = ("streams", "datagrams", "sock_calls", "files", "processes")
SEEDS_PER_CHILD = 20
CHILD_SECONDS = 300
SHRINK_SECONDS = 75


def main():
    options = parsed()
    folder = build.build(options.variant)
    if options.steps:
        return again(folder, options)
    print(f"seed {options.seed}", flush=True)
    totals = collections.Counter()
    until, seed, findings = time.monotonic() + options.seconds, options.seed, 0
    while time.monotonic() < until and not findings:
        for scenario in options.scenarios:
            for driver in options.drivers:
                findings += batch(folder, scenario, driver, seed, totals)
        seed += SEEDS_PER_CHILD
    summary(totals)
    return findings > 0


def parsed():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().getrandbits(40))
    parser.add_argument("--scenarios", type=names, default=SCENARIOS)
    parser.add_argument("--drivers", type=names, default=DRIVERS)
    parser.add_argument("--variant", default="chaos", choices=build.VARIANTS)
    parser.add_argument("--steps", help="a file of steps, for one scenario and driver")
    return parser.parse_args()


def names(text):
    return tuple(text.split(","))


def child(folder, *arguments, steps=None, seconds=CHILD_SECONDS):
    """(exit status, standard output, standard error) of one child."""
    command = ["nice", sys.executable, "-m", "tests.chaos.child", *map(str, arguments)]
    environment = os.environ | build.environment(folder)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True,
            errors="replace", timeout=seconds,
            input=None if steps is None else json.dumps(steps))
    except subprocess.TimeoutExpired as exc:
        return "timeout", (exc.stdout or b"").decode(), "no end"
    return done.returncode, done.stdout, done.stderr


def batch(folder, scenario, driver, seed, totals):
    """Some seeds; 1 after a finding."""
    code, out, err = child(folder, scenario, driver, seed, SEEDS_PER_CHILD)
    lines = out.splitlines()
    if code == 0:
        result = json.loads(lines[-1].removeprefix("done "))
        totals[f"{scenario} on {driver}: seeds"] += SEEDS_PER_CHILD
        totals[f"{scenario} on {driver}: steps"] += result["steps"]
        for kind, count in result["faults"].items():
            totals[f"fault: {kind}"] += count
        return 0
    failed = int(lines[-1].removeprefix("seed ")) if lines else seed
    print(f"FAILED {scenario} on {driver}, seed {failed}, status {code}\n{err[-6000:]}")
    report(folder, scenario, driver, failed)
    return 1


def report(folder, scenario, driver, seed):
    """Print the shortest list of steps that still fails."""
    until = time.monotonic() + SHRINK_SECONDS

    def fails(steps):
        return (time.monotonic() < until
                and child(folder, scenario, driver, seed, steps=steps)[0] != 0)

    # The child has the built package; this process may have only its sources.
    steps = json.loads(child(folder, scenario, driver, seed, "steps")[1])
    if not fails(steps):
        print("alone, this seed does not fail")
    print("steps:", json.dumps(shrink(steps, fails)), flush=True)


def again(folder, options):
    with open(options.steps) as file:
        steps = json.load(file)
    code, out, err = child(folder, options.scenarios[0], options.drivers[0],
                           options.seed, steps=steps)
    print(out, err)
    return code


def summary(totals):
    for name, count in sorted(totals.items()):
        print(f"{count:10}  {name}")
    for what in ("seeds", "steps"):
        print(sum(count for name, count in totals.items() if name.endswith(what)), what)


if __name__ == "__main__":
    sys.exit(main())
