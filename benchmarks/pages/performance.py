"""The text of docs/performance.md, from stored records, reasons.toml and tried.md."""

from pathlib import Path

from benchmarks.judge import losses, stats
from benchmarks.pages import sections
from benchmarks.pages.markdown import table
from benchmarks.pages.rows import (HEADINGS, MEAN_HEADINGS, NONE, all_ratios, cells,
                                   groups, mean_rows, title_of)
from benchmarks.scenarios.catalogue import FAIR_CONNECTIONS
from benchmarks.scenarios.loops import label

APT = "gcc libc6-dev libssl-dev openssl wrk strace linux-perf redis-server postgresql"
# Rarer calls are left out: they do not belong to a request.
LEAST_CALLS = 0.01


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
    """The loops of each run: version, class, and the backend of uring_loop."""
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
        yield [str(number), label(name), facts.get("version", "as Python"),
               f"`{facts['class']}`", backend, options or NONE]


def _detail_sections(records, runs):
    for group, members in groups(records):
        rows = []
        for record in members:
            title = title_of(record)
            if len(runs) > 1:
                title += f" [run {_run_number(runs, record)}]"
            for name in record["loops"]:
                rows.append([title, *cells(record, name)])
                title = ""
        yield f"### {group}\n\n" + table(("scenario", *HEADINGS), rows)


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
                yield [title, label(name), ", ".join(parts) or "almost none"]
                title = ""


# Experiments that gained nothing; written by hand.
TRIED = Path(__file__).with_name("tried.md")

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
- Where the measured process has a second thread, it runs on one core all the same: on
  two, a round trip took 0.6 to 1.4 of {baseline}'s from run to run, by where the kernel
  woke the other thread.
- *calls*: system calls of the server process per request, from a pass of its own.
- *wake-ups*: voluntary context switches of the load client (of the Redis server, where
  that is the peer) per request. On a virtual machine it is dear to wake another core,
  so a loop that saves wake-ups looks better there than on a machine of its own.
- A round in which another process or the hypervisor took more than {disturbed} of a
  measured core is left out for all loops. † marks a scenario that had too few quiet
  rounds: its least disturbed ones are shown.
- The load client is close to its limit at 64 connections and more, which caps the
  throughput ratio there; CPU per request is not capped.

File I/O has a page of its own: [files-performance.md](files-performance.md).

## Goals

Each was set before this loop was measured: a little above what the best asyncio loop
of that day reached, and above {baseline} where no loop was. The triangles in the
chart are the goals; what is beyond its scale is drawn at the edge. The geometric means
are over these scenarios, each by CPU time where its goal is that, and by what it
measures elsewhere.

{goals}

*ours* is `uring_loop` with its default options, *ours, epoll* the same loop with
`backend="epoll"`: the same transports without io_uring, as in most containers. Its
column is a ratio to {baseline}, of CPU time where the goal is that. It is judged by
its geometric mean and by its lowest row.

## Latency

{latency}

## Fairness

On one loop, {fair} connections play ping-pong beside something greedy, which the same
client serves. *beside* is what the greedy connection moved meanwhile.

{fairness}

## Scale

![CPU time per request by connections](img/scale.svg)

One request in flight on each connection. *client busy* is the share of the time in
which the load client computed.

{scale}

{beside}

## Where it loses, and why

{losses}

## Where the time goes

What a server or micro body computes, by samples of its processor time: in the kernel,
in Python (the interpreter, `asyncio`, the application), in the compiled modules of the
loop, and elsewhere (libc, OpenSSL). *bound* is what the CPU ratio would be if those
modules took no time at all, and the rest stayed as it is.

{shares}

## What was tried and did not pay

{tried}

## How to reproduce

```sh
sudo apt install {apt}
pip install . && pip install -r benchmarks/requirements.txt && python -m benchmarks
```

Other people's loops take part as far as they are installed: `pip install -r
benchmarks/requirements-peers.txt`. `python -m benchmarks --list` names the scenarios,
`--only PATTERN` runs a few of them and replaces their lines here, `--quick` takes two
minutes and writes nothing, `--full` adds the rest of the echo matrix. `--busy` measures
the table with busy neighbours, and `--loops asyncio,uvloop,uring_loop,zuvloop --results
benchmarks/results/python-3.14.json` the one of Python 3.14. A plain run takes about a
quarter of an hour.
`python -m benchmarks.regress` counts system calls and compares them with what
`benchmarks/judge/regress.toml` allows.

## What was measured

{runs}

{loops}

## Geometric mean of all scenarios

{means}

## All scenarios

{details}

## System calls by name

Per request, from `strace -f -c`. A server under strace is slower and finds more to
do in each iteration, so these are fewer than the *calls* above, which perf counts.

{calls}
"""


def markdown(records, others):
    """The whole of docs/performance.md."""
    runs = _runs(records)
    return PAGE.format(
        baseline=next(iter(records.values()))["baseline"],
        apt=APT, disturbed=f"{stats.DISTURBED_SHARE:.0%}", fair=FAIR_CONNECTIONS,
        goals=sections.goals_section(records),
        latency=sections.latency_section(records),
        fairness=sections.fairness_section(records),
        scale=sections.scale_section(records),
        beside="\n\n".join(sections.beside_sections(others)),
        losses=sections.losses_section(records, losses.load_reasons()),
        shares=sections.shares_section(records),
        tried=TRIED.read_text().strip(),
        runs=table(("run", "date", "commit", "kernel", "CPU", "Python, libc",
                    "slices", "scenarios", "rounds left out"),
                   _run_rows(records, runs)),
        loops=table(("run", "loop", "version", "class", "backend", "options"),
                    _loop_rows(records, runs)),
        means=table(MEAN_HEADINGS, mean_rows(records, all_ratios)),
        details="\n\n".join(_detail_sections(records, runs)),
        calls=table(("scenario", "loop", "calls"), _call_rows(records)))
