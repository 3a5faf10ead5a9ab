"""Tables out of stored records: rich ones for the terminal, Markdown for docs/."""

from pathlib import Path

from rich.table import Table

from benchmarks import stats

APT = "gcc libc6-dev libssl-dev openssl wrk strace linux-perf redis-server"
NONE = "–"
# Calls that are rarer than this per request are not the loop's pattern.
LEAST_CALLS = 0.01


def loop_names(records):
    """Every loop that some record has, in the order of first appearance."""
    names = {}
    for record in records.values():
        names.update(dict.fromkeys(record["loops"]))
    return list(names)


def spread_text(spread):
    if spread is None:
        return NONE
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def value_text(value, unit=""):
    if value is None:
        return NONE
    if value >= 1e6:
        text = f"{value / 1e6:.2f} M"
    elif value >= 1e4:
        text = f"{value / 1e3:.1f} k"
    elif value >= 100:
        text = f"{value:.0f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}".strip()


def title_of(record):
    """A scenario's title, marked where the machine was not quiet."""
    _, quiet = stats.counted_rounds(record)
    return record["title"] + ("" if quiet else " †")


def summary(record):
    """One line for the terminal while a run goes on."""
    parts = []
    for name, result in record["loops"].items():
        row = stats.row(record, name)
        if row is None:
            parts.append(f"{name} failed: {result.get('error', 'no samples')}")
        elif name == record["baseline"] or row.ratio is None:
            parts.append(f"{name} {value_text(row.value, record['unit'])}")
        else:
            cpu = f", CPU {row.cpu_ratio.median:.2f}" if row.cpu_ratio else ""
            parts.append(f"{name} {spread_text(row.ratio)}{cpu}")
    return f"{title_of(record)}: " + "; ".join(parts)


def _cells(record, name):
    """One loop's line in the detailed tables, without the scenario."""
    row = stats.row(record, name)
    if row is None:
        error = record["loops"][name].get("error", "no samples")
        return [name, f"failed: {error}", *[NONE] * 6]
    base = name == record["baseline"]
    return [name, "1" if base else spread_text(row.ratio),
            ("1" if base else spread_text(row.cpu_ratio)) if row.cpu_us else NONE,
            value_text(row.value, record["unit"]), value_text(row.cpu_us),
            value_text(row.calls), value_text(row.p50_us), value_text(row.p99_us)]


HEADINGS = ("loop", "ratio (quartiles)", "CPU ratio", "median", "CPU µs", "calls",
            "p50 µs", "p99 µs")


def _groups(records):
    groups = {}
    for record in records.values():
        groups.setdefault(record["group"], []).append(record)
    return groups.items()


def terminal_tables(records):
    """A rich Table per group, and one of geometric means."""
    for group, members in _groups(records):
        table = Table(title=group, title_justify="left")
        table.add_column("scenario")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "loop" else "right")
        for record in members:
            title = title_of(record)
            for name in record["loops"]:
                table.add_row(title, *_cells(record, name))
                title = ""
            table.add_section()
        yield table
    means = Table(title="Geometric mean of all scenarios", title_justify="left")
    for heading in MEAN_HEADINGS:
        means.add_column(heading)
    for cells in _means(records):
        means.add_row(*cells)
    yield means


MEAN_HEADINGS = ("loop", "ratio", "CPU ratio", "worst ratio", "scenarios", "failed")


def _means(records):
    for name in loop_names(records):
        present = [record for record in records.values() if name in record["loops"]]
        rows = [(record, stats.row(record, name)) for record in present]
        ratios = [(row.ratio.median, record["title"]) for record, row in rows
                  if row and row.ratio]
        cpu = [row.cpu_ratio.median for _, row in rows if row and row.cpu_ratio]
        failed = sum(row is None for _, row in rows)
        if not ratios:
            yield [name, NONE, NONE, NONE, "0", str(failed)]
            continue
        worst, title = min(ratios)
        worst_text = NONE if worst == 1 else f"{worst:.2f} ({title})"
        yield [name, f"{stats.geometric_mean(ratio for ratio, _ in ratios):.2f}",
               f"{stats.geometric_mean(cpu):.2f}" if cpu else NONE,
               worst_text, str(len(ratios)), str(failed)]


def _markdown_table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |",
             "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(_escaped(cell) for cell in cells) + " |"
              for cells in rows]
    return "\n".join(lines)


def _escaped(text):
    return text.replace("|", "\\|").replace("\n", " ")


def _runs(records):
    """The runs the records come from, as {host facts: number}, oldest first."""
    hosts = sorted({tuple(sorted(record["host"].items()))
                    for record in records.values()},
                   key=lambda host: dict(host)["date"])
    return {host: number + 1 for number, host in enumerate(hosts)}


def _run_number(runs, record):
    return runs[tuple(sorted(record["host"].items()))]


def _run_rows(records, runs):
    for host, number in runs.items():
        facts = dict(host)
        members = [record for record in records.values()
                   if _run_number(runs, record) == number]
        yield [str(number), facts["date"], facts["commit"], facts["kernel"],
               f"{facts['cpu']}, {facts['cpus']} CPUs",
               f"{facts['python']}, {facts['libc']}",
               f"{max(record['rounds'] for record in members)} rounds of "
               f"{members[0]['slice_seconds']} s", str(len(members)),
               _left_out(members)]


def _left_out(members):
    total = sum(record["rounds"] for record in members)
    counted = sum(len(stats.counted_rounds(record)[0]) for record in members)
    return f"{total - counted} of {total}"


def _loop_rows(records, runs):
    """The loops of each run: version, class, and how uring_loop drives its I/O."""
    seen = {}
    for record in records.values():
        for name, result in record["loops"].items():
            if "facts" in result:
                seen.setdefault((_run_number(runs, record), name), result["facts"])
    for (number, name), facts in sorted(seen.items()):
        backend = facts.get("backend", NONE)
        if "ring_flags" in facts:
            backend += f": {', '.join(facts['ring_flags'])}"
        elif "backend_reason" in facts:
            backend += f": {facts['backend_reason']}"
        options = " ".join(f"{key}={value}"
                           for key, value in facts["options"].items())
        yield [str(number), name, facts.get("version", "as Python"),
               f"`{facts['class']}`", backend, options or NONE]


def _detail_sections(records, runs):
    for group, members in _groups(records):
        rows = []
        for record in members:
            title = title_of(record)
            if len(runs) > 1:
                title += f" [run {_run_number(runs, record)}]"
            for name in record["loops"]:
                rows.append([title, *_cells(record, name)])
                title = ""
        yield f"### {group}\n\n" + _markdown_table(("scenario", *HEADINGS), rows)


def _call_rows(records):
    """The system calls behind one request, by name, for the headline scenarios."""
    for record in records.values():
        if not record["chart"]:
            continue
        title = title_of(record)
        for name, result in record["loops"].items():
            names = result.get("calls", {}).get("names", {})
            parts = [f"{call} {count:.2f}" for call, count in
                     sorted(names.items(), key=lambda item: -item[1])
                     if count >= LEAST_CALLS]
            if names:
                yield [title, name, ", ".join(parts) or "almost none"]
                title = ""


# What the tables cannot say, written by hand.
NOTES = Path(__file__).with_name("notes.md")

PAGE = """\
<!-- Written by `python -m benchmarks`; run it again instead of editing. -->
# Performance

![Ratio to {baseline} by scenario](img/performance.svg)

Every loop serves the same scenario in the same run: all servers are up at once, on
one core, and the load client on the other core turns from one to the next in short
slices whose order is shuffled in each round. A ratio compares a loop with {baseline}
inside one round; the tables show the median over the rounds and, in brackets, the
quartiles. **Above 1 is better than {baseline}**, for throughput, for CPU time, and
for the scenarios where a lower value is the better one.

- *CPU µs*: user and system time of the server process per request.
- *calls*: system calls of the server process per request, from a pass of its own.
- A round in which another process or the hypervisor took more than {disturbed} of a
  measured core is left out for all loops. † marks a scenario that had too few quiet
  rounds: its least disturbed ones are shown.
- The load client is close to its limit at 64 connections and more, which caps the
  throughput ratio there; CPU per request is not capped.

{means}

{notes}

## How to reproduce

```sh
sudo apt install {apt}
pip install . && pip install -r benchmarks/requirements.txt && python -m benchmarks
```

`python -m benchmarks --list` names the scenarios, `--scenario PATTERN` runs a few of
them and replaces their lines here, `--quick` takes two minutes and writes nothing.

## What was measured

{runs}

{loops}

## All scenarios

{details}

## System calls by name

Per request, from `strace -f -c`. A server under strace is slower and finds more to
do in each iteration, so these are fewer than the *calls* above, which perf counts.

{calls}
"""


def markdown(records):
    """The whole of docs/performance.md."""
    runs = _runs(records)
    baseline = next(iter(records.values()))["baseline"]
    return PAGE.format(
        baseline=baseline, apt=APT, disturbed=f"{stats.DISTURBED_SHARE:.0%}",
        means="## Geometric mean\n\n" + _markdown_table(MEAN_HEADINGS,
                                                        _means(records)),
        runs=_markdown_table(("run", "date", "commit", "kernel", "CPU",
                              "Python, libc", "slices", "scenarios",
                              "rounds left out"),
                             _run_rows(records, runs)),
        loops=_markdown_table(("run", "loop", "version", "class", "backend",
                               "options"), _loop_rows(records, runs)),
        notes=NOTES.read_text().strip(),
        details="\n\n".join(_detail_sections(records, runs)),
        calls=_markdown_table(("scenario", "loop", "calls"), _call_rows(records)))


def write(records, folder):
    """Write performance.md; the chart beside it is chart.py's."""
    page = Path(folder) / "performance.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(records))
    return page
