"""Checks of the chaos driver itself, in a build that has it: python -m
tests.chaos.check_driver. The same seed decides the same, and each fault happens.
"""

import collections
import random

from . import datagrams, faults, sock_calls, streams

SEEDS = range(100, 260)


def main():
    same_seed_same_decisions()
    each_fault_happens()


def same_seed_same_decisions():
    found = []
    for seed in (5, 5, 6):
        faults.start(seed)
        found.append([faults.decisions(kind, 50) for kind in faults.KINDS])
    faults.stop()
    assert found[0] == found[1] != found[2]
    assert len({tuple(numbers) for numbers in found[0]}) == len(faults.KINDS)


def each_fault_happens():
    """A name of the driver that has changed would silently be replaced no more."""
    counts = collections.Counter()
    for scenario in (streams, datagrams, sock_calls):
        for seed in SEEDS:
            steps = scenario.generate(random.Random(seed))
            counts.update(scenario.run("chaos", seed, steps))
    print(dict(counts))
    missing = [kind for kind in faults.KINDS if not counts[kind]]
    assert not missing, missing


if __name__ == "__main__":
    main()
