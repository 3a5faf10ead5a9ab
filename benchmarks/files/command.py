"""Command line of the file benchmark: flag sets, fio as the limit, peers of PyPI.

    apt install fio && pip install aiofiles aiofile urio turbofile py-asyncfiles uvloop
    python -m benchmarks.fio [--rounds 7] [--slice 0.2] [--size 256] [--folder .]

4 KiB at random offsets of one file, queue depth 1 and 64, through the page cache and
around it. Every contender of a cell is a process that stays; in each round all of them
get one slice, in shuffled order, and each round is compared with itself. Writes
docs/files-performance.md and docs/img/files.svg; the raw numbers go to
benchmarks/results/files.json, from which `--report` writes both again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

from benchmarks.compare import preflight
from benchmarks.files import http, page
from benchmarks.files.cells import measure
from benchmarks.files.contender import PEERS
from benchmarks.measure import programs
from benchmarks.measure.machine import machine_facts
from benchmarks.measure.processes import ROOT, BenchmarkError

RESULTS = ROOT / "benchmarks" / "results" / "files.json"
# The packages of modules whose names differ.
DISTRIBUTIONS = {"asyncfiles": "py-asyncfiles"}
HTTP_ROUNDS = 3
HTTP_SECONDS = 1
CELLS = [(kind, depth, cache) for cache in ("direct", "buffered")
         for kind in ("read", "write") for depth in (1, 64)]


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
        page.write(json.loads(RESULTS.read_text()))
        return
    arguments.missing = missing_peers(print)
    preflight.charts(print)
    # Last, so that all that is missing has been named: the others are ratios to it.
    if shutil.which("fio") is None:
        sys.exit("fio is not here, and nothing is measured without it: apt install fio")
    stored = {"machine": machine(), "rounds": arguments.rounds,
              "slice": arguments.slice, "size_mib": arguments.size}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = make_file(folder, arguments.size)
        stored["cells"] = {
            " ".join(map(str, cell)): measure(cell, path, arguments, print)
            for cell in CELLS}
        stored["http"] = http.run(
            path, HTTP_ROUNDS, HTTP_SECONDS, arguments.missing)
    RESULTS.write_text(json.dumps(stored))
    page.write(stored)
    print(f"wrote {page.PAGE}")


def missing_peers(say):
    """Names of the peers that cannot run here, each told with its cure."""
    missing = set()
    for name in PEERS:
        try:
            programs.need_module("uvloop")
            if name != "inline":
                programs.need_module(name, DISTRIBUTIONS.get(name))
        except BenchmarkError as error:
            say(f"{name} is left out: {error}")
            missing.add(name)
    return missing


def machine():
    facts = machine_facts()
    fio = subprocess.run(["fio", "--version"], capture_output=True, text=True)
    return {"date": facts["date"].partition("T")[0], "commit": facts["commit"],
            "cpu": facts["cpu"], "cpus": facts["cpus"], "kernel": facts["kernel"],
            "python": facts["python"], "fio": fio.stdout.strip(),
            "load": os.getloadavg()[0]}
