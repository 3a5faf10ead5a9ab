"""Count the instructions of operations of micro bodies, with callgrind.

What a loop does between two system calls is the same in every run, so the counts
hardly differ: each is that of a run with work less that of a run without.
"""

import contextlib
import json
import re
import sys

from benchmarks.measure.processes import BOOTSTRAP, BenchmarkError, Child, stopping
from benchmarks.measure.programs import need_program

BATCHES = 2
# valgrind is some fifty times slower, and several processes run at a time.
PATIENCE_SECONDS = 120.0
COLLECTED = re.compile(r"Collected : (\d+)")


def per_operation(loop, kinds, cores, scratch):
    """{kind: instructions} of the operations of some bodies of scenarios/micro.py."""
    with contextlib.ExitStack() as stack:
        def start(kind, batches):
            child = _valgrind(loop, kind, batches, cores, scratch)
            return stack.enter_context(stopping(child))

        idle = start(kinds[0], 0)
        working = {kind: start(kind, BATCHES) for kind in kinds}
        _, nothing = _finished(idle)
        return {kind: (instructions - nothing) / operations
                for kind, child in working.items()
                for operations, instructions in [_finished(child)]}


def _valgrind(loop, kind, batches, cores, scratch):
    order = {"task": "batches", "loop": loop, "kind": kind, "batches": batches}
    # A fixed hash seed fixes the iteration order of sets, and with it the count.
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}
    child = Child([need_program("valgrind"), "--tool=callgrind",
                   "--callgrind-out-file=/dev/null", sys.executable, "-P", "-c",
                   BOOTSTRAP, json.dumps(order)], cores, scratch, environment)
    child.patience_seconds = PATIENCE_SECONDS
    return child


def _finished(child):
    operations = child.answer()["operations"]
    words = child.error_output()
    found = COLLECTED.search(words)
    if found is None:
        raise BenchmarkError(f"valgrind: {words}")
    return operations, int(found[1])
