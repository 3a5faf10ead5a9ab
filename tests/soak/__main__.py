"""Runs mixed load on both drivers: python -m tests.soak [--seconds N] [--chart FILE]

Ends with 1 if a process failed or anything it holds has grown: the median of the last
quarter of the samples is compared with that of the second quarter. The chart needs
matplotlib.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DRIVERS = ("io_uring", "epoll")
# What each may have grown by in half of the run.
LIMITS = {"resident": 8 << 20, "descriptors": 8, "in_flight": 8, "threads": 4}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--chart", help="where to write a chart, for instance soak.svg")
    options = parser.parse_args()
    if options.chart and importlib.util.find_spec("matplotlib") is None:
        sys.exit("the chart needs matplotlib")  # told now, not in an hour
    drivers = options.drivers.split(",")
    # A thread for each: a full pipe would stop the load.
    with ThreadPoolExecutor(len(drivers)) as pool:
        results = pool.map(lambda driver: run(driver, options.seconds), drivers)
    samples, failed = {}, 0
    for driver, (status, rows) in zip(drivers, results):
        samples[driver] = rows
        if status:
            print(f"FAILED {driver}: the process ended with {status}")
        failed |= status != 0 or report(driver, rows)
    if options.chart:
        draw(samples, options.chart)
    return failed


def run(driver, seconds):
    """(exit status, samples) of one process."""
    done = subprocess.run(
        ["nice", sys.executable, "-m", "tests.soak.load", driver, str(seconds)],
        stdout=subprocess.PIPE, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def report(driver, samples):
    """Print what the process held; 1 if anything has grown."""
    if len(samples) < 8:
        print(f"FAILED {driver}: too short for a judgement")
        return 1
    failed = 0
    quarter = len(samples) // 4
    for name, limit in LIMITS.items():
        values = [sample[name] for sample in samples]
        early = statistics.median(values[quarter:2 * quarter])
        late = statistics.median(values[-quarter:])
        grown = late - early > limit
        failed |= grown
        print(f"{'FAILED' if grown else 'ok':7} {driver}: {name} {early:.0f} early, "
              f"{late:.0f} late, {max(values)} at most")
    print(f"        {driver}: {samples[-1]['done']} rounds in "
          f"{samples[-1]['seconds']:.0f} s", flush=True)
    return failed


def draw(samples, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(LIMITS), 1, sharex=True, figsize=(8, 8))
    for axis, name in zip(axes, LIMITS):
        scale = 1 << 20 if name == "resident" else 1
        for driver, rows in samples.items():
            axis.plot([row["seconds"] for row in rows],
                      [row[name] / scale for row in rows], label=driver, linewidth=0.8)
        axis.set_ylabel("MiB resident" if name == "resident" else name)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
