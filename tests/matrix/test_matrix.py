"""The matrix has no hole: every name of this Python has a row, and every row a test."""

import os
import pathlib
import subprocess
import sys

import pytest

from . import names, render, results

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REQUIRED = [row for rows in names.required().values() for row in rows]


@pytest.fixture(scope="module")
def recorded():
    return results.load()


@pytest.fixture(scope="module")
def collected():
    """The ids of all parity tests of this Python."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/parity"],
        cwd=ROOT, env={**os.environ, "PARITY_LOOPS": ",".join(results.LOOPS)},
        capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_every_name_of_this_python_has_a_row(recorded):
    assert [row for row in REQUIRED if row not in recorded["rows"]] == []


@pytest.mark.parametrize("loop", results.LOOPS)
def test_every_row_has_a_test_that_exists(recorded, collected, loop):
    tests = {recorded["rows"][row]["test"] for row in REQUIRED}
    assert [t for t in sorted(tests) if results.on_loop(t, loop) not in collected] == []


def test_every_row_works_on_both_backends(recorded):
    bad = {row: entry for row, entry in recorded["rows"].items()
           if any(entry[loop] != "passed" for loop in results.LOOPS)}
    assert bad == {}


def test_the_page_is_written_from_the_results(recorded):
    assert render.PAGE.read_text("utf-8") == render.page(recorded)
