"""The parts of the page that judge: goals, latency, fairness, scale, and losses."""

import tomllib
from pathlib import Path

from benchmarks import goals, stats
from benchmarks.markdown import table
from benchmarks.report import (MEAN_HEADINGS, NONE, mean_rows, spread_text, title_of,
                               value_text)

REASONS = Path(__file__).with_name("notes") / "reasons.toml"
PARTS = ("kernel", "python", "loop", "other")
NO_REASON = "**No reason is written yet.**"
# Scenarios whose latency is looked at, beside those named "Latency".
LATENCY = ("tcp-protocol-1-1k", "tcp-protocol-64-1k", "tcp-protocol-512-1k")
GOAL_HEADINGS = ("scenario", "goal", "uring_loop", "", "ratio", "CPU ratio", "coop",
                 "selector", "best of the others")


def goals_section(records):
    """How each goal came out, and the geometric mean over their scenarios."""
    judged = list(goals.verdicts(records))
    met = sum(verdict.met for verdict in judged)
    means = table(MEAN_HEADINGS, mean_rows(records, goals.headline_ratios))
    return (f"{met} of {len(judged)} goals are met. The geometric mean to reach is "
            f"{goals.MEAN_GOAL:.2f}.\n\n{means}\n\n"
            + table(GOAL_HEADINGS, map(_goal_row, judged)))


def _goal_row(verdict):
    record, goal = verdict.record, verdict.goal
    ours = stats.row(record, goal.loop)
    return [title_of(record), goal.text(record["unit"]), _reached(verdict),
            "met" if verdict.met else "**missed**",
            _median(ours and ours.ratio), _median(ours and ours.cpu_ratio),
            _other(record, goal, "uring_loop:taskrun=coop"),
            _other(record, goal, "uring_loop:backend=selector"),
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


def _other(record, goal, name):
    if name not in record["loops"]:
        return NONE
    if "error" in record["loops"][name]:
        return "failed"
    reached = _measured(record, goal, name)
    return NONE if reached is None else f"{reached:.2f}"


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
        yield [title, name, *_quantiles(row), ratio]
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
                rows.append([title, name, value_text(row.value, record["unit"]),
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
                rows.append([title, name, value_text(row.cpu_us),
                             _median(row.cpu_ratio), value_text(row.value),
                             value_text(row.calls), busy])
                title = ""
    return table(("scenario", "loop", "CPU µs", "CPU ratio", "requests/s", "calls",
                  "client busy"), rows)


def shares_section(records):
    """Of what a request costs, how much is spent where, and what that bounds."""
    rows = []
    for record in records.values():
        title = title_of(record)
        for name, result in record["loops"].items():
            row = stats.row(record, name)
            if row and "shares" in result:
                shares = result["shares"]
                rows.append([title, name, value_text(row.cpu_us),
                             *(f"{shares[part]:.0%}" for part in PARTS),
                             _bound(record, name, row, shares)])
                title = ""
    return table(("scenario", "loop", "CPU µs", *PARTS, "bound"), rows)


def _bound(record, name, row, shares):
    """The CPU ratio of this loop if its own modules took no time at all."""
    if name == record["baseline"] or row.cpu_ratio is None or shares["loop"] >= 1:
        return NONE
    return f"{row.cpu_ratio.median / (1 - shares['loop']):.2f}"


def losses_section(records, reasons):
    """A line for each goal that is missed, and what else is below the baseline."""
    lines = [f"- {text} {reasons.get(record['name'], NO_REASON)}"
             for text, record in _losses(records)]
    return "\n".join(lines) or "Nothing is below its goal or below the baseline."


def unexplained(records, reasons):
    """Names of the scenarios that lose and have no reason in notes/reasons.toml."""
    return list(dict.fromkeys(record["name"] for _, record in _losses(records)
                              if record["name"] not in reasons))


def load_reasons():
    return {name: " ".join(text.split())
            for name, text in tomllib.loads(REASONS.read_text()).items()}


def _losses(records):
    """[(what is lost, record)], one for each scenario: goals first."""
    missed = {}
    for verdict in goals.verdicts(records):
        if not verdict.met:
            missed.setdefault(verdict.record["name"], []).append(verdict)
    for name, verdicts in missed.items():
        unit = records[name]["unit"]
        what = "; ".join(f"reached {_reached(verdict)}, goal {verdict.goal.text(unit)}"
                         for verdict in verdicts)
        yield f"**{records[name]['title']}**: {what}.", records[name]
    for record in records.values():
        row = stats.row(record, goals.OURS)
        ratio = row.ratio if row else None
        # Beside something greedy, more echoes may mean that it got less.
        if (record["name"] not in missed and record["group"] != "Fairness"
                and ratio and round(ratio.median, 2) < 1):
            yield (f"**{record['title']}**: ratio {spread_text(ratio)}, below "
                   f"{record['baseline']}."), record
