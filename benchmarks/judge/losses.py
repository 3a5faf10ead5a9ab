"""Scenarios that miss a goal or fall below the baseline, and the reasons given."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.judge import goals, stats

REASONS = Path(__file__).with_name("reasons.toml")


@dataclass(frozen=True)
class Loss:
    record: dict
    missed: tuple = ()                  # Verdicts of the goals that are missed
    ratio: stats.Spread | None = None   # where no goal is missed: below the baseline


def losses(records):
    """A Loss for each scenario that has one: missed goals first."""
    missed = {}
    for verdict in goals.verdicts(records):
        if not verdict.met:
            missed.setdefault(verdict.record["name"], []).append(verdict)
    for name, verdicts in missed.items():
        yield Loss(records[name], tuple(verdicts))
    for record in records.values():
        row = stats.row(record, goals.OURS)
        ratio = row.ratio if row else None
        # Beside a greedy neighbour, more echoes may mean that the neighbour got less.
        if (record["name"] not in missed and record["group"] != "Fairness"
                and ratio and round(ratio.median, 2) < 1):
            yield Loss(record, ratio=ratio)


def unexplained(records, reasons):
    """Names of the scenarios that lose and have no reason in reasons.toml."""
    return list(dict.fromkeys(loss.record["name"] for loss in losses(records)
                              if loss.record["name"] not in reasons))


def load_reasons():
    return {name: " ".join(text.split())
            for name, text in tomllib.loads(REASONS.read_text()).items()}
