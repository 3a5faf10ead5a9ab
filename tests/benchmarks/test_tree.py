"""Each folder of benchmarks/ imports only from the folders listed above it."""

import pathlib
import re

import pytest

import benchmarks

ROOT = pathlib.Path(benchmarks.__file__).parent
LISTED = re.findall(r"^    (\w+)/ ", benchmarks.__doc__, re.MULTILINE)
FOLDERS = sorted({path.parent.name for path in ROOT.glob("*/*.py")})
IMPORT = re.compile(r"^\s*from benchmarks(?:\.(\w+))?[.\w]* import", re.MULTILINE)


def test_the_package_lists_every_folder():
    assert sorted(LISTED) == FOLDERS


@pytest.mark.parametrize("folder", LISTED)
def test_a_folder_imports_only_from_those_above(folder):
    allowed = LISTED[:LISTED.index(folder) + 1]
    wrong = [f"{path.name}: {name}" for path in (ROOT / folder).glob("*.py")
             for name in IMPORT.findall(path.read_text("utf-8"))
             if name not in allowed]
    assert wrong == []


@pytest.mark.parametrize("command", ["__main__", "fio", "regress", "threads"])
def test_a_command_is_an_entry_into_a_folder_and_no_more(command):
    text = (ROOT / f"{command}.py").read_text("utf-8")
    assert IMPORT.findall(text) and len(text.splitlines()) < 10
