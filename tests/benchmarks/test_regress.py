"""More system calls or instructions than the reference fail benchmarks.regress."""

import re
import shutil
import tomllib

import pytest

from benchmarks.judge import regressions
from benchmarks.measure import instructions

PATH = "tcp-protocol-1-1k@io_uring"
MISSING = [name for name in ("strace", "cc") if shutil.which(name) is None]
counts = pytest.mark.skipif(
    bool(MISSING), reason=f"missing {' and '.join(MISSING)}: apt install strace gcc")


@pytest.fixture
def reference(tmp_path):
    return shutil.copy(regressions.REFERENCE, tmp_path / "regress.toml")


def entries(reference):
    return tomllib.loads(reference.read_text())


def compare(reference, *arguments):
    return regressions.main(["--calls", PATH, "--bodies", "--reference", str(reference),
                             *arguments])


@pytest.fixture
def compare_instructions(tmp_path, monkeypatch):
    """Compare counts, as valgrind would give them, with a reference of 1,000."""
    def compare(count, *arguments):
        reference = tmp_path / "instructions.toml"
        reference.write_text(regressions.as_toml(
            {"calls": {}, "instructions": {regressions.PYTHON: {"sleep-zero": 1000}}}))
        monkeypatch.setattr(shutil, "which", lambda name: name)
        monkeypatch.setattr(instructions, "per_operation",
                            lambda *_: {"sleep_zero": count, "timer_churn": 5})
        status = regressions.main(["--calls", "--bodies", "sleep-zero", "timer-churn",
                                   "--reference", str(reference), *arguments])
        return status, entries(reference)["instructions"][regressions.PYTHON]
    return compare


@counts
def test_one_call_more_than_the_reference_fails(reference, capsys):
    stored = entries(reference)
    stored["calls"][PATH]["calls"] -= 1
    reference.write_text(regressions.as_toml(stored))
    assert compare(reference) == 1
    said = capsys.readouterr().out
    measured = re.match(f"WORSE {PATH}: reference 1.00 [+] 0.10, measured ([.0-9]+) ",
                        said)
    # On a busy machine a wait may find nothing new, or two things.
    assert float(measured[1]) == pytest.approx(2.0, abs=0.1)
    assert "sendto 1.00" in said


@counts
def test_update_writes_what_is_measured_and_keeps_the_rest(reference, capsys):
    before = entries(reference)
    stored = entries(reference)
    stored["calls"][PATH] = {"calls": 7.0, "tolerance": 0.25}
    reference.write_text(regressions.as_toml(stored))
    assert compare(reference, "--update") == 0
    after = entries(reference)
    assert after["calls"].pop(PATH) == {"calls": pytest.approx(2.0, abs=0.1),
                                        "tolerance": 0.25}
    before["calls"].pop(PATH)
    assert after["calls"] == before["calls"]
    assert after["instructions"].items() >= before["instructions"].items()
    assert capsys.readouterr().out.startswith(f"ok    {PATH}: ")


def test_the_reference_has_the_hottest_paths():
    stored = entries(regressions.REFERENCE)
    assert tuple(stored["calls"]) == regressions.PATHS
    for counts in stored["instructions"].values():
        assert tuple(counts) == regressions.COUNTED_BODIES


@pytest.mark.parametrize(("calls", "allowed"), [(2.1, True), (2.11, False), (0, True)])
def test_what_the_tolerance_allows(calls, allowed):
    assert regressions.within({"calls": 2.0, "tolerance": 0.1}, calls) == allowed


@pytest.mark.parametrize(("count", "status"), [(900, 0), (1050, 0), (1051, 1)])
def test_more_instructions_than_the_tolerance_allows(
        compare_instructions, capsys, count, status):
    assert compare_instructions(count) == (status, {"sleep-zero": 1000})
    said, other = capsys.readouterr().out.splitlines()
    verdict = "WORSE" if status else "ok   "
    assert said == (f"{verdict} sleep-zero: reference 1000 + 5%, "
                    f"measured {count} instructions per operation")
    # Nothing to compare with is told as such.
    assert other.startswith("ok    timer-churn: reference none for Python 3.")


def test_update_writes_instructions(compare_instructions):
    assert compare_instructions(1200, "--update") == (
        0, {"sleep-zero": 1200, "timer-churn": 5})


def test_without_strace_it_is_an_error_that_names_the_package(
        reference, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert compare(reference) == 2
    assert "apt install strace" in capsys.readouterr().out
