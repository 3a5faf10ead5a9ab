"""Write docs/files-performance.md and its chart from stored cells."""

import importlib.util
import statistics
from pathlib import Path

from benchmarks.files.cells import CONTROL
from benchmarks.files.contender import LEFT_OUT, PEERS
from benchmarks.measure.processes import ROOT
from benchmarks.pages.markdown import table

PAGE = ROOT / "docs" / "files-performance.md"
CHART = ROOT / "docs" / "img" / "files.svg"
OURS = "DEFER_TASKRUN"


def rates(found):
    return [rate for rate, _ in found]


def against_none(cell, name):
    """Percent against "none" of the same round: median and quartiles."""
    base, found = cell["none"], cell.get(name)
    if isinstance(base, str) or isinstance(found, str) or len(found) < 2:
        return "–"
    ratios = [(a / b - 1) * 100 for a, b in zip(rates(found), rates(base))]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:+.1f} % ({low:+.0f}…{high:+.0f})"


def rate_of(found):
    if found is None:
        return "–"
    if isinstance(found, str):
        return "failed"
    return f"{statistics.median(rates(found)) / 1e3:.1f} k"


def share_of_fio(cell):
    ours, fio = cell[OURS], cell["fio"]
    if isinstance(ours, str) or isinstance(fio, str):
        return "–"
    return f"{statistics.median(rates(ours)) / statistics.median(rates(fio)):.0%}"


def cpu_of(found):
    if found is None or isinstance(found, str):
        return "–"
    return f"{statistics.median(cpu for _, cpu in found):.1f}"


def label(key):
    kind, depth, cache = key.split()
    return [f"rand{kind}", "4k", depth, "1" if cache == "direct" else "0"]


COLUMNS = ["rw", "bs", "iodepth", "direct"]


def series_table(cells):
    names = [*list(LEFT_OUT)[1:], CONTROL]
    return table([*COLUMNS, "none", *names], [
        [*label(key), rate_of(cell["none"]), *(against_none(cell, n) for n in names)]
        for key, cell in cells.items()])


def peers_table(cells, value):
    names = ["fio", OURS, *PEERS]
    rows = [[*label(key), *(value(cell.get(name)) for name in names),
             share_of_fio(cell)] for key, cell in cells.items()]
    titles = ["uring_loop" if name == OURS else name for name in names]
    return table([*COLUMNS, *titles, "of fio"], rows)


def http_table(http):
    return table(
        ["", "p50 µs", "p99 µs", "answers per s", "reads per s", "Python threads"],
        [[title, *(f"{number:,.0f}" for number in numbers)]
         for title, numbers in http.items()])


def failures(cells):
    found = {f"{name}, {key}: `{result}`" for key, cell in cells.items()
             for name, result in cell.items() if isinstance(result, str)}
    return "\n".join(f"- {line}" for line in sorted(found)) or "None."


NOTES = Path(__file__).with_name("notes.md")

TEMPLATE = """\
<!-- Written by `python -m benchmarks.fio`; run it again instead of editing. -->
# File performance

4 KiB at random offsets of one file of {size} MiB. Every contender is a process of its
own; in each of {rounds} rounds all of them get a slice of {slice} s, in shuffled order.
`direct` 1 is O_DIRECT, 0 goes through the page cache, which holds the file.

{machine}

## The set-up flags

Operations per second without any flag, and what each flag set adds: the median of the
rounds, with quartiles. *{control}* is the first column once more: what differs less
than it does is noise. Each column has the flags of the one before, but
`DEFER_TASKRUN`, which is what a loop has unless told otherwise, has no `COOP_TASKRUN`.
`+COOP_TASKRUN` includes `TASKRUN_FLAG`.

{series}

## Beside fio and the peers

Thousands of operations per second, and what uring_loop reaches of
`fio --ioengine=io_uring`. *inline* is os.pread and os.pwrite on the loop's thread,
which stop the loop for as long. Peers run on uvloop; those without a number for
`direct` 1 cannot open with O_DIRECT.

![Share of fio's rate](img/files.svg)

{rates}

Microseconds of processor time per operation, of all threads (fio's own is what it says
of itself):

{cpu}

Failed: {failures}

## HTTP beside reads

One process answers HTTP on 8 connections and does 64 random reads of 4 KiB with
O_DIRECT at a time; the client is another process. The time of an answer, as the client
sees it:

{http}

{notes}
"""


def write(stored):
    cells, facts = stored["cells"], stored["machine"]
    if importlib.util.find_spec("matplotlib") is not None:
        from benchmarks.files import chart
        chart.write(
            cells, {OURS: "uring_loop", **{name: name for name in PEERS}}, CHART)
    PAGE.write_text(TEMPLATE.format(
        size=stored["size_mib"], rounds=stored["rounds"], slice=stored["slice"],
        control=CONTROL, series=series_table(cells),
        rates=peers_table(cells, rate_of), cpu=peers_table(cells, cpu_of),
        failures=failures(cells), http=http_table(stored["http"]),
        notes=NOTES.read_text().strip(),
        machine=f"{facts['date']}, commit {facts['commit']}, Linux {facts['kernel']}, "
                f"{facts['cpu']}, {facts['cpus']} CPUs, Python {facts['python']}, "
                f"{facts['fio']}; load when it began {facts['load']:.1f}."))
