"""Writes docs/compatibility-suites.md from the stored results."""

import json
import pathlib

from . import projects
from .prepare import ROOT

RESULTS = pathlib.Path(__file__).with_name("results.json")
LOAD = RESULTS.with_name("load") / "results.json"
PAGE = ROOT / "docs" / "compatibility-suites.md"
HEAD = """# Other projects' test-suites

Written by `python -m tests.suites --store`; change `tests/suites/projects.toml`, not
this page. Each suite ran on asyncio's own loop and on uring_loop, put in as the loop
that asyncio gives to everybody, and was compared test by test. A test that failed on
ours was run again; what passed then, or fails on asyncio as well when it is run alone,
depends on time or on other tests and is counted as unsteady.

| project | tests | passed: asyncio | io_uring | epoll | failed on asyncio, too | \
only on ours | unsteady |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


UNDER_LOAD = """## Programs under load

Written by `python -m tests.suites.load --store`. Servers are under wrk with 64
connections, half of the time with short answers and half with streamed ones; clients
have many tasks. A run fails on any error, and on memory or descriptors that grow once
it is warm; the numbers are the most in the two halves of what follows.

| program | backend | what was seen |
| --- | --- | --- |
"""


def write():
    """The page of all that is stored."""
    known = projects.load()
    results = json.loads(RESULTS.read_text("utf-8"))
    results = {name: results[name] for name in known if name in results}
    rows = [row(known[name], result) for name, result in results.items()]
    parts = [HEAD + "\n".join(rows), *sections(results, known), under_load()]
    parts.append(machine(results))
    PAGE.write_text("\n\n".join(parts) + "\n", "utf-8")


def row(project, result):
    counts = result["counts"]
    passed = [str(counts[loop]["passed"]) if loop in counts else "not run"
              for loop in ("asyncio", "io_uring", "epoll")]
    cells = [
        f"{project.name} {result['version']}",
        project.about or "all",
        *passed,
        str(len(result["also_on_asyncio"])),
        str(len(tests_of(result["only_ours"]))),
        str(len(tests_of(result["unsteady"]))),
    ]
    return f"| {' | '.join(cells)} |"


def tests_of(by_loop):
    """The tests of all backends together, each once."""
    return {test for tests in by_loop.values() for test in tests}


def sections(results, known):
    """What differs and why, and what fails on both; only where there is something."""
    found = []
    for name, result in results.items():
        lines = differing(known[name], result) + everywhere(known[name], result)
        if lines:
            found.append("\n".join([f"## {name}", "", *lines]))
    return found


def differing(project, result):
    lines = []
    for test in sorted(tests_of(result["only_ours"])):
        loops = [loop for loop, tests in result["only_ours"].items() if test in tests]
        reason = result["only_ours"][loops[0]][test]
        why = project.why(test) or f"not explained yet: `{reason}`"
        lines.append(f"- only on ours ({', '.join(loops)}): `{test}`: {why}")
    unsteady = sorted(tests_of(result["unsteady"]))
    return lines + [f"- unsteady: `{test}`" for test in unsteady]


def everywhere(project, result):
    tests = result["also_on_asyncio"]
    if not tests:
        return []
    files = {}
    for test in tests:
        file = test.partition("::")[0]
        files[file] = files.get(file, 0) + 1
    told = ", ".join(f"`{file}` {count}" for file, count in sorted(files.items()))
    note = f" ({project.note})" if project.note else ""
    return [f"- failed on asyncio, too{note}: {told}"]


def under_load():
    results = json.loads(LOAD.read_text("utf-8")) if LOAD.exists() else {}
    rows = [f"| {name} | {loop} | {told} |"
            for name, by_loop in results.items() for loop, told in by_loop.items()]
    return UNDER_LOAD + "\n".join(rows)


def machine(results):
    seen = {f"CPython {r['python']}, Linux {r['kernel']}" for r in results.values()}
    return f"Seen on {'; '.join(sorted(seen))}."
