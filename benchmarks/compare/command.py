"""Run `python -m benchmarks`: choose, measure, print, store."""

import contextlib
import os
import signal
import sys
import tempfile
import time

try:
    from rich.console import Console
    from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                               TimeElapsedColumn)
except ImportError as error:
    sys.exit(f"{error}; run: pip install -r benchmarks/requirements.txt")

from benchmarks.compare import comparison, preflight, store
from benchmarks.compare.arguments import RESULTS
from benchmarks.judge import losses
from benchmarks.load import neighbours
from benchmarks.measure import machine
from benchmarks.measure.processes import BenchmarkError, Scratch
from benchmarks.pages import output, rows, sections, terminal
from benchmarks.scenarios import catalogue, loops

# Width for files and CI logs, so that tables are not wrapped.
FILE_COLUMNS = 180

console = Console(highlight=False,
                  width=None if sys.stdout.isatty() else FILE_COLUMNS)


def main(arguments):
    # SIGTERM ends a run as Ctrl-C does: through every `finally`. A shell may ignore
    # SIGINT for background jobs, so set both handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with preflight.errors_as_messages(say):
        if arguments.report:
            write_report(arguments)
            return 0
        try:
            return run(arguments)
        except KeyboardInterrupt:
            say("stopped; finished scenarios are kept, all processes are gone")
            return 130


def say(text):
    console.print(text, markup=False)


def run(arguments):
    """Measure, print, and store; answers the exit status."""
    start = time.monotonic()
    server_cores, client_cores = choose_cores(arguments)
    with tempfile.TemporaryDirectory(prefix="uring_loop-bench-") as folder:
        names, extra, missing = choose_loops(arguments, Scratch(folder), server_cores)
    usable = preflight.usable_scenarios(arguments.selected, say)
    preflight.charts(say)
    # This process sleeps during a slice, and wakes on the client's core.
    os.sched_setaffinity(0, client_cores)
    settings = comparison.Settings(
        names, extra, missing, arguments.baseline, arguments.rounds,
        arguments.slice_ms / 1000, server_cores, client_cores, not arguments.no_calls,
        arguments.busy)
    writes = not (arguments.no_write or arguments.quick)
    # A whole run replaces all stored results.
    stored = store.load(arguments.results) if writes and arguments.only else {}
    measured = {}
    with beside(settings):
        for record in measured_records(settings, usable):
            measured[record["name"]] = stored[record["name"]] = record
            if writes:
                store.save(arguments.results, in_catalogue_order(stored))
    for table in terminal.tables(measured):
        console.print(table)
    if writes and measured:
        write_report(arguments)
    say(f"{len(measured)} scenarios in {(time.monotonic() - start) / 60:.1f} minutes")
    asked = arguments.loops is not None
    failed = comparison.has_failed(measured.values(), arguments.extra, asked)
    return int(failed or len(usable) < len(arguments.selected))


def beside(settings):
    """What has to be alive in the whole run."""
    if settings.busy:
        return neighbours.computing(settings.server_cores | settings.client_cores)
    return contextlib.nullcontext()


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
    """(loops, peers, missing) as they start here."""
    names = arguments.names
    if arguments.baseline not in names:
        raise BenchmarkError(f"the baseline {arguments.baseline} is not among the "
                             f"loops {', '.join(names)}; see --baseline")
    must_work = [arguments.baseline]
    if arguments.loops:
        must_work += [name for name in names if not loops.parse(name).options]
    usable, missing = preflight.check_loops(names, must_work, scratch, cores, say)
    extra, _ = preflight.check_loops(arguments.extra, [], scratch, cores, say)
    return usable, extra, missing


def measured_records(settings, selected):
    """Run each scenario and yield its record, with progress on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    # No refresh thread: it would run inside slices.
    with Progress(*columns, console=console, auto_refresh=False,
                  transient=True) as progress:
        task = progress.add_task("", total=len(selected))
        title = ""

        def tell(text):
            progress.update(task, description=f"{title}: {text}", refresh=True)

        with comparison.Comparison(settings, machine.machine_facts(),
                                   tell) as measuring:
            if measuring.counter:
                preflight.call_counting(measuring.counter, say)
            for scenario in selected:
                title = scenario.title
                try:
                    record = measuring.run(scenario)
                except BenchmarkError as error:
                    raise BenchmarkError(f"{scenario.name}: {error}") from None
                say(rows.summary(record))
                progress.advance(task)
                yield record


def in_catalogue_order(records):
    order = {scenario.name: i for i, scenario in enumerate(catalogue.CATALOGUE)}
    return dict(sorted(records.items(), key=lambda item: order.get(item[0], 999)))


def write_report(arguments):
    """Write the page of the run's results, and of those stored beside them."""
    path = arguments.results
    if path.name in sections.BESIDE:
        path = path.with_name(RESULTS.name)
    records = store.load(path)
    if not records:
        raise BenchmarkError(f"no results are stored yet in {path}; run: "
                             "python -m benchmarks")
    others = {name: store.load(path.with_name(name)) for name in sections.BESIDE}
    say(f"wrote {', '.join(map(str, output.write(records, others, arguments.docs)))}")
    unexplained = losses.unexplained(records, losses.load_reasons())
    if unexplained:
        say(f"no reason is written yet in {losses.REASONS} for: "
            f"{', '.join(unexplained)}")
