"""The command `bench`: asyncio, uvloop and both drivers compared in 15 seconds."""

import argparse
import asyncio
import json
import statistics
import sys
import time

from uring_loop.cli.bodies import BODIES
from uring_loop.cli.output import Cell, Printer
from uring_loop.loop import Loop

try:
    import uvloop
except ImportError:
    uvloop = None

SECONDS, ROUNDS = 15.0, 7
REFERENCE = "asyncio"
# Ratios this close to 1 have no colour: they are within the noise of most machines.
NOISE = 0.05

DESCRIPTION = """\
Measures operations per second of asyncio's loop, uvloop (if installed) and uring_loop
on both drivers. Each round runs all loops one after the other, in changing order, and
is compared with asyncio in the same round: what slows the machine down slows both. The
table has the median of the rounds' ratios, and the smallest and largest.

Client and server share one loop, so this compares loops, not servers; `python -m
benchmarks` in a clone measures servers. Other work on the machine shows as spread."""


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m uring_loop bench", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", action="store_true", help="all rates as JSON")
    parser.add_argument("--plain", action="store_true",
                        help="no colours, even if rich is installed")
    options = parser.parse_args(arguments)
    loops, missing = contenders()
    printer = Printer(options.plain)
    if not options.json:
        printer.line(f"Measures {', '.join(loops)}: {options.seconds:g} seconds …")
    rates = measure(loops, options.seconds)
    if options.json:
        json.dump({"operations_per_second": rates, "missing": missing}, sys.stdout,
                  indent=2)
        print()
    else:
        show(rates, missing, printer)
    return 0


def contenders():
    """({name: factory}, {name: why it is missing})."""
    loops, missing = {REFERENCE: asyncio.SelectorEventLoop}, {}
    if uvloop is None:
        missing["uvloop"] = "not installed (pip install uvloop)"
    else:
        loops["uvloop"] = uvloop.new_event_loop
    for driver in ("io_uring", "epoll"):
        try:
            Loop(backend=driver).close()
        except OSError as exc:
            missing[driver] = str(exc.strerror or exc)
        else:
            loops[driver] = lambda driver=driver: Loop(backend=driver)
    return loops, missing


def measure(loops, seconds):
    """{body: {loop: [operations per second in each round]}}."""
    cell_seconds = seconds / (len(BODIES) * len(loops) * ROUNDS)
    rates = {body: {name: [] for name in loops} for body in BODIES}
    names = list(loops)
    for number in range(ROUNDS):
        # Nobody is always the one who runs on a cache that another has filled.
        first = number % len(names)
        order = names[first:] + names[:first]
        for body, make in BODIES.items():
            for name in order:
                with asyncio.Runner(loop_factory=loops[name]) as runner:
                    rates[body][name].append(
                        runner.run(rate(make, cell_seconds)))
    return rates


async def rate(make, seconds):
    """Operations per second of a body."""
    async with make() as batch:
        await batch()       # caches and buffers fill before the clock starts
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds or not count:
            count += await batch()
        return count / (passed or time.perf_counter() - begin)


def show(rates, missing, printer):
    names = list(next(iter(rates.values())))
    printer.title(f"Operations per second of {REFERENCE}, and the others' ratio to it: "
                  "median (smallest to largest)")
    printer.table(
        [(body, f"{statistics.median(found[REFERENCE]):,.0f}",
          *(ratio_cell(found[name], found[REFERENCE]) for name in names[1:]))
         for body, found in rates.items()], ["", *names])
    for name, why in missing.items():
        printer.line(f"  {name} is missing: {why}")


def ratio_cell(rates, reference):
    ratios = [one / other for one, other in zip(rates, reference)]
    median = statistics.median(ratios)
    mark = ("ok" if median > 1 + NOISE else "bad" if median < 1 - NOISE else "")
    return Cell(f"{median:.2f} ({min(ratios):.2f}–{max(ratios):.2f})", mark)
