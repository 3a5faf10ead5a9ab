"""The recorded results: which test proves a row, and on which loops it passed.

`results.json` is what `python -m tests.matrix record` found by running tests/parity on
this machine. A row that only another version of Python has is kept.
"""

import json
import pathlib
import platform
import re

from . import names
from .proofs import PROOFS, WEAK

PATH = pathlib.Path(__file__).with_name("results.json")
LOOPS = ("io_uring", "epoll")
LOOP_IN_ID = re.compile(r"\[(%s)(-|(?=\]))" % "|".join(LOOPS))


def load():
    return json.loads(PATH.read_text("utf-8"))


def save(results):
    PATH.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")


def without_loop(nodeid):
    """tests/parity/test_x.py::test_y[io_uring-tcp] -> test_x.py::test_y[tcp]"""
    short = LOOP_IN_ID.sub("[", nodeid.rpartition("/")[2])
    return short.removesuffix("[]")


def on_loop(test, loop):
    """The other way round, as pytest wants it."""
    name, bracket, case = test.partition("[")
    return f"tests/parity/{name}[{loop}" + (f"-{case}" if bracket else "]")


def from_recording(recorded, old):
    """The rows with their proofs; those that this recording says nothing of, as before.

    It may be of a part of the tests, or of a Python that has more or fewer names.
    """
    calls, outcomes = {}, {}
    for nodeid, called in recorded["calls"].items():
        calls.setdefault(without_loop(nodeid), set()).update(called)
    for nodeid, outcome in recorded["outcomes"].items():
        if loop := LOOP_IN_ID.search(nodeid):
            outcomes.setdefault(without_loop(nodeid), {})[loop[1]] = outcome
    rows = dict(old.get("rows", {}))
    for row in (row for section in names.required().values() for row in section):
        named = PROOFS.get(row)
        if row in rows and not {rows[row]["test"], named} & outcomes.keys():
            continue
        if test := proof_of(row, calls, outcomes):
            rows[row] = {"test": test, **outcomes[test]}
    versions = sorted({*old.get("python", []), platform.python_version()})
    return {**old, "python": versions, "rows": rows}


def proof_of(row, calls, outcomes):
    """The test that was named, else the one that does little besides; None if none."""
    named = PROOFS.get(row)
    if named in outcomes and row not in calls.get(named, ()):
        raise ValueError(f"{named} does not call {row}")
    able = [test for test, called in calls.items()
            if row in called and set(outcomes.get(test, ())) == set(LOOPS)
            and "skipped" not in outcomes[test].values()]
    ranked = sorted(able, key=lambda test: (test != named, bool(WEAK.search(test)),
                                            len(calls[test]), test))
    return ranked[0] if ranked else None
