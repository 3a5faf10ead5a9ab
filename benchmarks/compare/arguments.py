"""The command line of `python -m benchmarks`, with its defaults."""

import argparse
from pathlib import Path

from benchmarks.measure.processes import ROOT
from benchmarks.scenarios import catalogue, loops

DEFAULT_LOOPS = f"asyncio,uvloop,{loops.OURS},{loops.EPOLL}"
# Peers, measured where there is a goal.
EXTRA_LOOPS = "blazio,talyn,rsloop"
# A plain run takes about a quarter of an hour, a quick one about two minutes.
DEFAULT_ROUNDS = 8
DEFAULT_SLICE_MS = 200
QUICK_ROUNDS = 3
QUICK_SLICE_MS = 100
RESULTS = ROOT / "benchmarks" / "results" / "loops.json"
# Of runs with --busy, which have scenarios and a table of their own.
BUSY_RESULTS = RESULTS.with_name("busy.json")
BUSY_SCENARIOS = ("Applications", "tcp-protocol-64-1k", "tcp-streams-64-1k")
DOCS = ROOT / "docs"


def list_scenarios():
    for scenario in catalogue.CATALOGUE:
        runs = [word for word in ("default", "quick") if getattr(scenario, word)]
        print(f"{scenario.name:24} {scenario.title} [{', '.join(runs) or 'full'}]")


def parse(words=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare event loops in one run.",
        epilog=loops.__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", "--scenario", nargs="+", default=[], metavar="PATTERN",
        action="extend", help="names, groups or shell patterns; see --list")
    add("--loops", metavar="NAME,...",
        help=f"loops to compare (default {DEFAULT_LOOPS}, and where there is a goal "
        f"{EXTRA_LOOPS}, as far as they import)")
    add("--baseline", default="uvloop", help="loop the ratios refer to")
    add("--rounds", type=int, help=f"slices per loop (default {DEFAULT_ROUNDS}, with "
        f"--quick {QUICK_ROUNDS})")
    add("--slice-ms", type=int, help=f"length of a slice (default {DEFAULT_SLICE_MS}, "
        f"with --quick {QUICK_SLICE_MS})")
    add("--quick", action="store_true", help="few scenarios unless --only names them, "
        "few and short slices, no peers; writes nothing")
    add("--full", action="store_true", help="every cell of the TCP echo matrix")
    add("--busy", action="store_true", help="beside the load, a niced process computes "
        f"on each core; {', '.join(BUSY_SCENARIOS)} unless --only names others")
    add("--no-write", action="store_true", help="print only")
    add("--no-calls", action="store_true", help="do not count system calls")
    add("--list", action="store_true", help="name the scenarios and stop")
    add("--report", action="store_true",
        help="rewrite the report from stored results and stop")
    add("--results", type=Path, help="where raw results are stored")
    add("--docs", default=DOCS, type=Path, help="folder of the page and its charts")
    add("--server-core", type=int, default=0)
    add("--client-core", type=int, default=1)
    arguments = parser.parse_args(words)
    set_defaults(arguments)
    if arguments.rounds < 1 or arguments.slice_ms < 10:
        parser.error("--rounds must be at least 1 and --slice-ms at least 10")
    try:
        choose(arguments)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def set_defaults(arguments):
    """Those that depend on other options."""
    if arguments.results is None:
        arguments.results = BUSY_RESULTS if arguments.busy else RESULTS
    if arguments.busy and not arguments.only:
        arguments.only = list(BUSY_SCENARIOS)
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else DEFAULT_ROUNDS
    if arguments.slice_ms is None:
        arguments.slice_ms = QUICK_SLICE_MS if arguments.quick else DEFAULT_SLICE_MS


def choose(arguments):
    """The scenarios and loops; raises ValueError for unknown ones."""
    arguments.selected = catalogue.select(
        arguments.only, arguments.full, arguments.quick)
    arguments.names = list(dict.fromkeys((arguments.loops or DEFAULT_LOOPS).split(",")))
    arguments.extra = [] if arguments.loops or arguments.quick else (
        EXTRA_LOOPS.split(","))
    for name in arguments.names:
        loops.parse(name)
