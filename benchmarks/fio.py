"""File I/O: the flag sets of QEMU's series, fio as the limit, and the peers of PyPI.

    apt install fio && pip install aiofiles aiofile urio turbofile py-asyncfiles uvloop
    python -m benchmarks.fio [--rounds 7] [--slice 0.2] [--size 256] [--folder .]

4 KiB at random offsets of one file, queue depth 1 and 64, through the page cache and
around it. Every contender of a cell is a process that stays; in each round all of them
get one slice, in shuffled order, and each round is compared with itself. Writes
docs/files-performance.md and docs/img/files.svg; the raw numbers go to
benchmarks/fio.json, from which `--report` writes both again.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import fio_chart, fio_http
from benchmarks.fio_child import DIRECT, LEFT_OUT, PEERS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "fio.json"
PAGE = ROOT / "docs" / "files-performance.md"
CHART = ROOT / "docs" / "img" / "files.svg"
CONTROL = "none again"
OURS = "DEFER_TASKRUN"
# fio cannot do less than a second at a time.
FIO_SECONDS = 1
FIO_ROUNDS = 3
HTTP_ROUNDS = 3
HTTP_SECONDS = 1
CELLS = [(kind, depth, cache) for cache in ("direct", "buffered")
         for kind in ("read", "write") for depth in (1, 64)]


class Contender:
    """A process that does slices on demand."""

    def __init__(self, name, path, kind, depth, cache):
        given = "none" if name == CONTROL else name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fio_child", given, path, kind,
             str(depth), cache],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=ROOT)
        self.error = None
        if self.process.stdout.readline().strip() != "ready":
            self.error = self.last_words()

    def last_words(self):
        self.process.kill()
        _, text = self.process.communicate()
        return (text.strip().splitlines() or ["ended without a word"])[-1]

    def slice(self, seconds):
        """(operations per second, microseconds of processor per operation)"""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.error = self.last_words()
            return None
        done, passed, cpu = map(float, line.split())
        return done / passed, cpu / done * 1e6

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


def run_fio(path, kind, depth, cache):
    """(operations per second, microseconds of processor per operation) of real fio."""
    done = subprocess.run(
        ["fio", "--name=limit", f"--filename={path}", f"--rw=rand{kind}", "--bs=4k",
         f"--iodepth={depth}", "--ioengine=io_uring", "--norandommap",
         f"--direct={int(cache == 'direct')}", "--invalidate=0", "--time_based",
         f"--runtime={FIO_SECONDS}", f"--size={os.path.getsize(path)}",
         "--output-format=json"],
        capture_output=True, text=True, check=True)
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    found = job[kind]
    busy = (job["usr_cpu"] + job["sys_cpu"]) / 100 * found["runtime"] / 1e3
    return found["iops"], busy / max(found["total_ios"], 1) * 1e6


def names_of(cache):
    peers = [name for name in PEERS if cache == "buffered" or name in DIRECT]
    return [*LEFT_OUT, CONTROL, *peers]


def measure(cell, path, arguments, say):
    """{name: [[rate, cpu], …] or the error} of one cell."""
    contenders = {name: Contender(name, path, *cell) for name in names_of(cell[2])}
    samples = {name: [] for name in contenders}
    try:
        for number in range(arguments.rounds):
            order = [name for name in contenders if contenders[name].error is None]
            random.shuffle(order)
            for name in order:
                sample = contenders[name].slice(arguments.slice)
                if sample is not None:
                    samples[name].append(sample)
        samples["fio"] = [run_fio(path, *cell) for _ in range(FIO_ROUNDS)]
    finally:
        for contender in contenders.values():
            contender.close()
    say(" ".join(map(str, cell)))
    return {name: found if name == "fio" or contenders[name].error is None
            else contenders[name].error for name, found in samples.items()}


def machine():
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":")[1].strip() for line in file
                    if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT,
                            capture_output=True, text=True).stdout.strip()
    fio = subprocess.run(["fio", "--version"], capture_output=True, text=True)
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit, "cpu": cpu,
            "cpus": os.cpu_count(), "kernel": platform.release(),
            "python": platform.python_version(), "fio": fio.stdout.strip(),
            "load": os.getloadavg()[0]}


# ---- the page -------------------------------------------------------------------


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


def table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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


NOTES = Path(__file__).with_name("fio-notes.md")

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


def write_page(stored):
    cells, facts = stored["cells"], stored["machine"]
    fio_chart.write(
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


def make_file(folder, size_mib):
    path = os.path.join(folder, "data")
    with open(path, "wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds")
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--folder", default=".", help="on the disk to measure")
    parser.add_argument("--report", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if arguments.report:
        write_page(json.loads(RESULTS.read_text()))
        return
    if shutil.which("fio") is None:
        sys.exit("fio is not here: apt install fio")
    stored = {"machine": machine(), "rounds": arguments.rounds,
              "slice": arguments.slice, "size_mib": arguments.size}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = make_file(folder, arguments.size)
        stored["cells"] = {
            " ".join(map(str, cell)): measure(cell, path, arguments, print)
            for cell in CELLS}
        stored["http"] = fio_http.run(path, HTTP_ROUNDS, HTTP_SECONDS)
    RESULTS.write_text(json.dumps(stored))
    write_page(stored)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
