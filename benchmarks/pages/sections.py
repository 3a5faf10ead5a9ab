"""Sections of the performance page: goals, latency, fairness, scale, losses, shares."""

from benchmarks.judge import goals, losses, stats
from benchmarks.pages.markdown import table
from benchmarks.pages.rows import (MEAN_HEADINGS, NONE, all_ratios, loop_names,
                                   mean_rows, spread_text, title_of, trouble_word,
                                   value_text)
from benchmarks.scenarios.loops import EPOLL, label

# Results of runs under other conditions: file -> heading and words of the section.
BESIDE = {
    "busy.json": ("With busy neighbours", """\
On each core, a process of the lowest priority (`nice` 19) computes beside the server or
the client, as in most of production. Each ratio is one of throughput to {baseline}
beside the same neighbours; no round is left out. Commit {commit}."""),
    "python-3.14.json": ("On Python 3.14, with zuvloop", """\
zuvloop needs Python 3.14. Each ratio is one of throughput to {baseline} in the same
run, with {python} on the same machine. Commit {commit}."""),
}
PARTS = ("kernel", "python", "loop", "other")
NO_REASON = "**No reason is written yet.**"
# Scenarios of the latency section, beside those of the group "Latency".
LATENCY = ("tcp-protocol-1-1k", "tcp-protocol-64-1k", "tcp-protocol-512-1k")
GOAL_HEADINGS = ("scenario", "goal", "ours", "", "ratio", "CPU ratio", label(EPOLL),
                 "", "best of the others")


def goals_section(records):
    """The verdict about each goal, and the geometric mean over their scenarios."""
    judged = list(goals.verdicts(records))
    met = sum(verdict.met for verdict in judged)
    means = table(MEAN_HEADINGS, mean_rows(records, goals.headline_ratios))
    return (f"{met} of {len(judged)} goals are met. The geometric mean to reach is "
            f"{goals.MEAN_GOAL:.2f}. {epoll_sentence(records)}\n\n{means}\n\n"
            + table(GOAL_HEADINGS, map(_goal_row, judged)))


def epoll_sentence(records):
    """Whether the epoll driver reaches its two figures, and which rows are too slow."""
    verdict = goals.epoll_verdict(records)
    if verdict is None:
        return "The epoll driver was not measured."
    if verdict.missing:
        return f"The epoll driver is missing: {verdict.missing}."
    mean = NONE if verdict.mean is None else f"{verdict.mean:.2f}"
    below = "; ".join(f"{record['title']} ({_epoll_text(record)})"
                      for record in verdict.below)
    return (f"On the epoll driver the geometric mean is {mean}, the goal "
            f"{goals.EPOLL_MEAN_GOAL:.2f}: {_met(verdict.mean_is_met)}. No row may be "
            f"under {goals.EPOLL_FLOOR:.2f}: {_met(not below)}"
            f"{f', by {below}' if below else ''}.")


def _epoll_text(record):
    ratio = goals.headline_ratio(record, EPOLL)
    if ratio is None:
        return trouble_word(record["loops"][EPOLL])
    return f"{ratio:.2f}"


def _met(is_met):
    return "met" if is_met else "**missed**"


def _epoll_cells(record):
    """The ratio of the epoll driver in a row, and the verdict about it."""
    if EPOLL not in record["loops"]:
        return [NONE, NONE]
    below = goals.is_below_floor(goals.headline_ratio(record, EPOLL))
    return [_epoll_text(record), _met(not below)]


def _goal_row(verdict):
    record, goal = verdict.record, verdict.goal
    ours = stats.row(record, goal.loop)
    return [title_of(record), goal.text(record["unit"]), _reached(verdict),
            _met(verdict.met), _median(ours and ours.ratio),
            _median(ours and ours.cpu_ratio), *_epoll_cells(record),
            _best_other(record, goal)]


def _reached(verdict):
    if verdict.reached is None:
        return "failed"
    if verdict.low is None:
        return f"{verdict.reached:.2f}"
    return f"{verdict.reached:.2f} ({verdict.low:.2f}–{verdict.high:.2f})"


def _median(spread):
    return f"{spread.median:.2f}" if spread else NONE


def _measured(record, goal, name):
    row = stats.row(record, name)
    reached = getattr(row, goal.measure) if row else None
    return reached.median if isinstance(reached, stats.Spread) else reached


def _best_other(record, goal):
    found = [(reached, name) for name in record["loops"]
             if not name.startswith(goals.OURS)
             and (reached := _measured(record, goal, name)) is not None]
    if not found:
        return NONE
    reached, name = max(found) if goal.is_ratio else min(found)
    return f"{name} {reached:.2f}"


def latency_section(records):
    rows = []
    for record in records.values():
        if record["name"] in LATENCY or record["group"] == "Latency":
            rows += _quantile_rows(record)
    return table(("scenario", "loop", "p50 µs", "p99 µs", "p99.9 µs",
                  "p50 ratio (quartiles)"), rows)


def _quantile_rows(record):
    title = title_of(record)
    for name, row in _working(record):
        ratio = "1" if name == record["baseline"] else spread_text(row.p50_ratio)
        yield [title, label(name), *_quantiles(row), ratio]
        title = ""


def _quantiles(row):
    return [value_text(row.p50_us), value_text(row.p99_us), value_text(row.p999_us)]


def _working(record):
    for name in record["loops"]:
        row = stats.row(record, name)
        if row:
            yield name, row


def fairness_section(records):
    rows = []
    for record in records.values():
        if record["group"] == "Fairness":
            title = title_of(record)
            for name, row in _working(record):
                rows.append([title, label(name), value_text(row.value, record["unit"]),
                             *_quantiles(row), value_text(row.beside)])
                title = ""
    return table(("scenario", "loop", "echoes", "p50 µs", "p99 µs", "p99.9 µs",
                  "beside MiB/s"), rows)


def scale_section(records):
    rows = []
    for record in records.values():
        if record["group"] == "Scale":
            title = title_of(record)
            for name, row in _working(record):
                busy = NONE if row.client_busy is None else f"{row.client_busy:.0%}"
                rows.append([title, label(name), value_text(row.cpu_us),
                             _median(row.cpu_ratio), value_text(row.value),
                             value_text(row.calls), busy])
                title = ""
    return table(("scenario", "loop", "CPU µs", "CPU ratio", "requests/s", "calls",
                  "client busy"), rows)


def shares_section(records):
    """Shares of the CPU time of a request, and the bound that follows from them."""
    rows = []
    for record in records.values():
        title = title_of(record)
        for name, result in record["loops"].items():
            row = stats.row(record, name)
            if row and "shares" in result:
                shares = result["shares"]
                rows.append([title, label(name), value_text(row.cpu_us),
                             *(f"{shares[part]:.0%}" for part in PARTS),
                             _bound(record, name, row, shares)])
                title = ""
    return table(("scenario", "loop", "CPU µs", *PARTS, "bound"), rows)


def _bound(record, name, row, shares):
    """The CPU ratio of this loop if its own modules took no time at all."""
    if name == record["baseline"] or row.cpu_ratio is None or shares["loop"] >= 1:
        return NONE
    return f"{row.cpu_ratio.median / (1 - shares['loop']):.2f}"


def beside_sections(others):
    """A section for each set of results that there is."""
    for name, records in others.items():
        if records:
            heading, words = BESIDE[name]
            first = next(iter(records.values()))
            words = words.format(baseline=first["baseline"], **first["host"])
            means = table(MEAN_HEADINGS, mean_rows(records, all_ratios))
            yield f"## {heading}\n\n{words}\n\n{means}\n\n{ratios_table(records)}"


def ratios_table(records):
    """A line for each scenario, a column for each loop."""
    names = loop_names(records)
    rows = []
    for record in records.values():
        cells = [title_of(record)]
        for name in names:
            row = stats.row(record, name)
            if row:
                base = name == record["baseline"]
                cells.append("1" if base else spread_text(row.ratio))
            else:
                result = record["loops"].get(name)
                cells.append(trouble_word(result) if result else NONE)
        rows.append(cells)
    return table(("scenario", *map(label, names)), rows)


def losses_section(records, reasons):
    """A line for each goal that is missed, and what else is below the baseline."""
    lines = [f"- {_loss_text(loss)} {reasons.get(loss.record['name'], NO_REASON)}"
             for loss in losses.losses(records)]
    return "\n".join(lines) or "Nothing is below its goal or below the baseline."


def _loss_text(loss):
    record = loss.record
    if not loss.missed:
        return (f"**{record['title']}**: ratio {spread_text(loss.ratio)}, below "
                f"{record['baseline']}.")
    what = "; ".join(f"reached {_reached(verdict)}, goal "
                     f"{verdict.goal.text(record['unit'])}" for verdict in loss.missed)
    return f"**{record['title']}**: {what}."
