"""Command line of the comparison of threads: two loops in two threads over one.

    pip install uvloop aiofastnet
    python3.14t -m benchmarks.threads [--loops A,B] [--bodies tasks,http]
    python3.14t -m benchmarks.threads --bodies http --processes PYTHON

Each loop of a row is a process that stays; in each round all of them get one slice with
one thread and one with two, in shuffled order. Prints the table of docs/threads.md: the
median rate of two threads and, in parentheses, the median of the rounds' ratios. With
`--processes`, two processes of another Python, one with a GIL, stand beside one process
with two threads: rate and memory.

Real-time priority keeps other programs away: chrt -f 10 python3.14t -m …
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import sysconfig
import tempfile

from benchmarks.measure import programs
from benchmarks.measure.processes import Child, Scratch, module_command, stopping
from benchmarks.scaling.worker import BODIES
from benchmarks.scenarios import loops

NAMES = (loops.OURS, loops.EPOLL, "asyncio", "uvloop", loops.FASTNET)
MEBIBYTE_KIB = 1024
# This Python can be without a GIL.
FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", default=",".join(NAMES))
    parser.add_argument("--bodies", default=",".join(BODIES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slice", type=float, default=0.1, help="seconds")
    parser.add_argument("--processes", metavar="PYTHON",
                        help="a Python with a GIL and uring_loop in it")
    arguments = parser.parse_args()
    names = [name for name in arguments.loops.split(",") if loops.is_installed(name)]
    show("", *map(loops.label, names))
    show(*["---"] * (len(names) + 1))
    compare = compare_processes if arguments.processes else compare_threads
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(folder)
        for body in arguments.bodies.split(","):
            show(body, *compare(body, names, arguments, scratch))


def compare_threads(body, names, arguments, scratch):
    """The cells of one row."""
    samples = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(started(body, name, scratch))
                    for name in names}
        for _ in range(arguments.rounds):
            for name in shuffled(names):
                one, two = (ask([children[name]], count, arguments.slice)["rate"]
                            for count in (1, 2))
                samples[name].append((one, two))
    return [cell_of_threads(samples[name]) for name in names]


def cell_of_threads(pairs):
    rate = statistics.median(two for _, two in pairs)
    ratio = statistics.median(two / one for one, two in pairs)
    return f"{three_digits(rate)} ({ratio:.2f})"


def compare_processes(body, names, arguments, scratch):
    samples = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        def start(name, python=sys.executable):
            return stack.enter_context(started(body, name, scratch, python))

        threads = {name: [start(name)] for name in names}
        processes = {name: [start(name, arguments.processes) for _ in range(2)]
                     for name in names}
        for _ in range(arguments.rounds):
            for name in shuffled(names):
                samples[name].append((ask(threads[name], 2, arguments.slice),
                                      ask(processes[name], 1, arguments.slice)))
    return [cell_of_processes(samples[name]) for name in names]


def cell_of_processes(pairs):
    return " : ".join(
        f"{three_digits(statistics.median(side['rate'] for side in sides))}, "
        f"{statistics.median(side['pss_kib'] for side in sides) / MEBIBYTE_KIB:.1f} MiB"
        for sides in zip(*pairs, strict=True))


@contextlib.contextmanager
def started(body, name, scratch, python=sys.executable):
    """A child that runs the body on loops of this name."""
    order = {"loop": name, "body": body,
             "arguments": [programs.certificate(scratch)] if body == "tls" else []}
    command = module_command("benchmarks.scaling.worker", json.dumps(order))
    # What turns the GIL on when it is imported is compared without it all the same. A
    # Python that always has one does not start with this.
    environment = {"PYTHON_GIL": "0"} if FREE and python == sys.executable else {}
    child = Child([python, *command[1:]], os.sched_getaffinity(0), scratch, environment)
    with stopping(child):
        child.answer()
        yield child


def ask(children, count, seconds):
    """Let all children work at the same time; answers the sums of what they say."""
    for child in children:
        child.send(f"{count} {seconds}")
    answers = [child.answer() for child in children]
    return {key: sum(answer[key] for answer in answers) for key in answers[0]}


def shuffled(names):
    return random.sample(names, len(names))


def three_digits(rate):
    return f"{float(f'{rate:.3g}'):,.0f}"


def show(*cells):
    print("|", " | ".join(cells), "|", flush=True)
