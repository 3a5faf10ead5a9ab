"""Writes docs/compatibility.md from the recorded results."""

import pathlib

from . import names

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/compatibility.md"

WORDS = {"passed": "yes", "failed": "**no**", "skipped": "not run", "dies": "crashes",
         "missing": "missing", "differs": "differs", "hangs": "hangs"}

HEAD = """\
# Compatibility

<!-- Written by `python -m tests.matrix`; edit tests/matrix instead. -->

Every public method of `asyncio.AbstractEventLoop`, every transport method and every
optional argument, for Python {python}. A row is proved by a test of `tests/parity` that
runs on asyncio's own loop and on the loops of the columns (our loop with both backends,
and uvloop) and compares traces: the order of callbacks, results, exceptions and their
texts. The calls of a test were recorded while it ran. `tests/matrix/test_matrix.py`
fails if a name of the running Python has no row, or if a row's test does not exist.

- *yes*: the same as on asyncio.
- *differs*: the trace differs from asyncio's, possibly only in a text.
- *missing*: NotImplementedError, or no such method or argument.
- *hangs*, *crashes*: the test did not end, or ended its process.
- *not run*: uvloop was tried on Python 3.13 only.

Intended differences of uring_loop are listed in [differences.md](differences.md).
"""

TAIL = """
## Other people's suites

See [compatibility-suites.md](compatibility-suites.md).
"""


def page(results):
    peer = results["peer"]
    lines = [HEAD.format(python=", ".join(results["python"])), count(results)]
    for section, rows in sections(results).items():
        lines += [f"## {title(section)}", "",
                  f"| | io_uring | epoll | uvloop {peer['version']} | proved by |",
                  "| --- | --- | --- | --- | --- |"]
        lines += [line_of(row, results["rows"][row], peer) for row in rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n" + TAIL


def sections(results):
    """As the running Python has them, with the rows that only others have."""
    found = {name: [] for name in names.required()}
    first = {row.partition(".")[0]: name for name, rows in names.required().items()
             for row in rows}
    for row in sorted(results["rows"]):
        found[first[row.partition(".")[0]]].append(row)
    return found


def title(section):
    return "The loop" if section == "loop" else section[0].upper() + section[1:]


def line_of(row, recorded, peer):
    name = row.partition(".")[2]
    cells = [WORDS[recorded["io_uring"]], WORDS[recorded["epoll"]],
             WORDS[peer["tests"].get(recorded["test"], "skipped")],
             f"`{recorded['test']}`"]
    shown = f"`{name}`" if "(" not in name else f"… `{name.partition('(')[2][:-1]}`"
    return " | ".join([f"| {shown}", *cells]) + " |"


def count(results):
    rows = results["rows"].values()
    parts = []
    for loop in ("io_uring", "epoll"):
        parts.append(f"{loop} {sum(row[loop] == 'passed' for row in rows)}")
    tests = results["peer"]["tests"]
    parts.append(f"uvloop {sum(tests.get(row['test']) == 'passed' for row in rows)}")
    return f"Of {len(rows)} rows *yes*: {', '.join(parts)}.\n"


def write(results):
    PAGE.write_text(page(results), "utf-8")
