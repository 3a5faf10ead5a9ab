"""Read the list of tests that may fail, and complain when an entry is not needed."""

import dataclasses
import fnmatch
import pathlib
import tomllib

from .files import BACKENDS, FILES, VERSIONS

PATH = pathlib.Path(__file__).with_name("allowed.toml")
KEYS = {"test", "versions", "backends", "reason"}
OPTIONAL_KEYS = {"hangs"}


@dataclasses.dataclass(frozen=True)
class Entry:
    test: str
    versions: tuple
    backends: tuple
    reason: str
    hangs: bool

    def covers(self, file_name, version, backend):
        return (
            self.test.partition(".")[0] == file_name
            and not {version, version.removesuffix("t")}.isdisjoint(self.versions)
            and backend in self.backends
        )

    def matches(self, test_id):
        return fnmatch.fnmatchcase(test_id, self.test)


def load(path=PATH):
    """Return all entries; a malformed one raises ValueError."""
    with open(path, "rb") as file:
        tables = tomllib.load(file).get("allowed", [])
    return [checked(table) for table in tables]


def checked(table):
    if wrong := KEYS - set(table) | set(table) - KEYS - OPTIONAL_KEYS:
        raise ValueError(f"{table}: missing or unknown: {sorted(wrong)}")
    entry = Entry(
        table["test"],
        tuple(table["versions"]),
        tuple(table["backends"]),
        table["reason"].strip(),
        table.get("hangs", False),
    )
    file_name = entry.test.partition(".")[0]
    backends = {file.name: file.backends for file in FILES}.get(file_name)
    for wrong, what in (
        (backends is None, "no such file is run"),
        (not entry.versions or set(entry.versions) - set(VERSIONS), "versions"),
        (not entry.backends or set(entry.backends) - set(BACKENDS), "backends"),
        (
            backends and set(entry.backends) - set(backends),
            "the file is not run on that backend",
        ),
        (not entry.reason, "no reason"),
        ("." not in entry.test, "one test or class, not a file"),
    ):
        if wrong:
            raise ValueError(f"{entry.test}: {what}")
    return entry


def judge(entries, failed_ids):
    """Return (failures that no entry allows, entries that no failure needs)."""
    unexpected = [i for i in failed_ids if not any(e.matches(i) for e in entries)]
    unneeded = [e for e in entries if not any(e.matches(i) for i in failed_ids)]
    return unexpected, unneeded
