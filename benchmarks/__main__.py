"""Command line of the benchmark runner."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

try:
    from rich.console import Console
    from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                               TimeElapsedColumn)
    import matplotlib  # noqa: F401  (needed at the end of a long run)
except ImportError as error:
    sys.exit(f"{error}; run: pip install -r benchmarks/requirements.txt")

from benchmarks import (judgement, loops, measure, page, preflight, report, scenarios,
                        session, store, terminal)
from benchmarks.process import ROOT, BenchmarkError, Scratch

DEFAULT_LOOPS = "asyncio,uvloop,uring_loop"
# Other ways to run this loop, and other people's loops: see goals.py.
EXTRA_LOOPS = ("uring_loop:taskrun=coop,uring_loop:backend=selector,"
               "blazio,talyn,rsloop")
DEFAULT_ROUNDS = 11
QUICK_ROUNDS = 3
RESULTS = ROOT / "benchmarks" / "results.json"
DOCS = ROOT / "docs"

# Into a file or a CI log the tables go unbroken.
FILE_COLUMNS = 180

console = Console(highlight=False,
                  width=None if sys.stdout.isatty() else FILE_COLUMNS)


def main():
    arguments = parse_arguments()
    if arguments.list:
        list_scenarios()
        return 0
    # A polite kill ends a run as Ctrl-C does: through every `finally`. A shell may
    # have left SIGINT ignored for a job in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with preflight.person_readable(say):
        if arguments.report:
            write_report(store.load(arguments.results))
            return 0
        try:
            return run(arguments)
        except KeyboardInterrupt:
            say("stopped; finished scenarios are kept, all processes are gone")
            return 130


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare event loops in one run.",
        epilog=loops.__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--scenario", nargs="+", default=[], metavar="PATTERN", action="extend",
        help="names, groups or shell patterns; see --list")
    add("--loops", metavar="NAME,...",
        help=f"loops to compare (default {DEFAULT_LOOPS}, and where there is a goal "
        f"{EXTRA_LOOPS}, as far as they import)")
    add("--baseline", default="uvloop", help="loop the ratios refer to")
    add("--rounds", type=int, help=f"slices per loop (default {DEFAULT_ROUNDS})")
    add("--slice-ms", type=int, default=200, help="length of a slice")
    add("--quick", action="store_true", help="few scenarios, few rounds; writes "
        "nothing")
    add("--full", action="store_true", help="every cell of the TCP echo matrix")
    add("--no-write", action="store_true", help="print only")
    add("--no-calls", action="store_true", help="do not count system calls")
    add("--list", action="store_true", help="name the scenarios and stop")
    add("--report", action="store_true",
        help="rewrite the report from stored results and stop")
    add("--results", default=RESULTS, type=Path, help="where raw results are stored")
    add("--server-core", type=int, default=0)
    add("--client-core", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else DEFAULT_ROUNDS
    if arguments.rounds < 1 or arguments.slice_ms < 10:
        parser.error("--rounds must be at least 1 and --slice-ms at least 10")
    try:
        arguments.selected = scenarios.select(arguments.scenario, arguments.full,
                                              arguments.quick)
        arguments.names = list(dict.fromkeys(
            (arguments.loops or DEFAULT_LOOPS).split(",")))
        arguments.extra = [] if arguments.loops or arguments.quick else (
            EXTRA_LOOPS.split(","))
        for name in arguments.names:
            loops.parse(name)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def say(text):
    console.print(text, markup=False)


def list_scenarios():
    for scenario in scenarios.CATALOGUE:
        runs = [word for word in ("default", "quick") if getattr(scenario, word)]
        say(f"{scenario.name:24} {scenario.title} [{', '.join(runs) or 'full'}]")


def run(arguments):
    """Measure, print, and store; answers the exit status."""
    start = time.monotonic()
    server_cores, client_cores = choose_cores(arguments)
    with tempfile.TemporaryDirectory(prefix="uring_loop-bench-") as folder:
        names, extra = choose_loops(arguments, Scratch(folder), server_cores)
    usable = preflight.usable_scenarios(arguments.selected, say)
    # The runner sleeps during a slice; where it wakes it is on the client's core.
    os.sched_setaffinity(0, client_cores)
    settings = session.Settings(
        names, extra, arguments.baseline, arguments.rounds, arguments.slice_ms / 1000,
        server_cores, client_cores, not arguments.no_calls)
    writes = not (arguments.no_write or arguments.quick)
    # A whole run replaces whatever was measured on another day.
    stored = store.load(arguments.results) if writes and arguments.scenario else {}
    measured = {}
    for record in measured_records(settings, usable):
        measured[record["name"]] = stored[record["name"]] = record
        if writes:
            store.save(arguments.results, in_catalogue_order(stored))
    for table in terminal.tables(measured):
        console.print(table)
    if writes and measured:
        write_report(in_catalogue_order(stored))
    say(f"{len(measured)} scenarios in {(time.monotonic() - start) / 60:.1f} minutes")
    # That another loop cannot do something is a result like any other.
    failed = any("error" in result for record in measured.values()
                 for name, result in record["loops"].items() if name not in extra)
    return int(failed or len(usable) < len(arguments.selected))


def choose_cores(arguments):
    available = os.sched_getaffinity(0)
    server, client = arguments.server_core, arguments.client_core
    missing = {server, client} - available
    if missing:
        say(f"CPU {min(missing)} is not available: server and client share one, "
            "ratios of throughput mean little")
        server = client = min(available)
    return frozenset({server}), frozenset({client})


def choose_loops(arguments, scratch, cores):
    """Loops that were asked for must work; of the default ones uring_loop may not."""
    names = arguments.names
    if arguments.baseline not in names:
        raise BenchmarkError(f"the baseline {arguments.baseline} is not among the "
                             f"loops {', '.join(names)}; see --baseline")
    must_work = names if arguments.loops else [arguments.baseline]
    return (preflight.usable_loops(names, must_work, scratch, cores, say),
            preflight.usable_loops(arguments.extra, [], scratch, cores, say))


def measured_records(settings, selected):
    """Run each scenario and yield its record, with progress on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    # No refresh thread: it would wake up inside slices.
    with Progress(*columns, console=console, auto_refresh=False,
                  transient=True) as progress:
        task = progress.add_task("", total=len(selected))
        title = ""

        def tell(text):
            progress.update(task, description=f"{title}: {text}", refresh=True)

        with session.Session(settings, measure.machine_facts(), tell) as measuring:
            if measuring.counter:
                preflight.call_counting(measuring.counter, say)
            for scenario in selected:
                title = scenario.title
                try:
                    record = measuring.run(scenario)
                except BenchmarkError as error:
                    raise BenchmarkError(f"{scenario.name}: {error}") from None
                say(report.summary(record))
                progress.advance(task)
                yield record


def in_catalogue_order(records):
    order = {scenario.name: i for i, scenario in enumerate(scenarios.CATALOGUE)}
    return dict(sorted(records.items(), key=lambda item: order.get(item[0], 999)))


def write_report(records):
    if not records:
        raise BenchmarkError("no results are stored yet; run: python -m benchmarks")
    say(f"wrote {', '.join(map(str, page.write(records, DOCS)))}")
    unexplained = judgement.unexplained(records, judgement.load_reasons())
    if unexplained:
        say(f"no reason is written yet in {judgement.REASONS} for: "
            f"{', '.join(unexplained)}")


if __name__ == "__main__":
    sys.exit(main())
