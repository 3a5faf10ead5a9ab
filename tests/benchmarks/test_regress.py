"""A path that makes more system calls fails `python -m benchmarks.regress`."""

import shutil
import tomllib

import pytest

from benchmarks import regress

PATH = "tcp-protocol-1-1k"
MISSING = [name for name in ("strace", "cc") if shutil.which(name) is None]
counts = pytest.mark.skipif(
    bool(MISSING), reason=f"missing {' and '.join(MISSING)}: apt install strace gcc")


@pytest.fixture
def reference(tmp_path):
    return shutil.copy(regress.REFERENCE, tmp_path / "regress.toml")


def entries(reference):
    return tomllib.loads(reference.read_text())


def compare(reference, *arguments):
    return regress.main([PATH, "--reference", str(reference), *arguments])


@counts
def test_one_call_more_than_the_reference_fails(reference, capsys):
    stored = entries(reference)
    stored[PATH]["calls"] -= 1
    reference.write_text(regress.as_toml(stored))
    assert compare(reference) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"WORSE {PATH}: reference 1.00 + 0.10, measured 2.0")
    assert "sendto 1.00" in said


@counts
def test_update_writes_what_is_measured_and_keeps_the_rest(reference, capsys):
    before = entries(reference)
    stored = {**before, PATH: {"calls": 7.0, "tolerance": 0.25}}
    reference.write_text(regress.as_toml(stored))
    assert compare(reference, "--update") == 0
    after = entries(reference)
    assert after.pop(PATH) == {"calls": pytest.approx(2.0, abs=0.05), "tolerance": 0.25}
    before.pop(PATH)
    assert after == before
    assert capsys.readouterr().out.startswith(f"ok    {PATH}: ")


def test_the_reference_has_the_hottest_paths():
    assert tuple(entries(regress.REFERENCE)) == regress.PATHS


@pytest.mark.parametrize(("calls", "allowed"), [(2.1, True), (2.11, False), (0, True)])
def test_what_the_tolerance_allows(calls, allowed):
    assert regress.within({"calls": 2.0, "tolerance": 0.1}, calls) == allowed


def test_without_strace_it_is_an_error_that_names_the_package(
        reference, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert compare(reference) == 2
    assert "apt install strace" in capsys.readouterr().out
