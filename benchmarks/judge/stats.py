"""Compute ratios and their spread from stored slices.

Speed drifts within seconds on most machines, so a loop is compared with the
baseline inside one round only; what is reported is the median of those ratios and
the quartiles around it. A ratio above 1 is always better than the baseline.

A round in which other processes held up any of the loops does not count, as long as
enough rounds remain; it is left out for all loops alike.
"""

import math
import statistics
from dataclasses import dataclass

DISTURBED_SHARE = 0.05
LEAST_ROUNDS = 3


@dataclass
class Spread:
    median: float
    low: float      # lower quartile
    high: float


@dataclass
class Row:
    """The results of one loop in one scenario."""

    value: float
    cpu_us: float | None
    p50_us: float | None
    p99_us: float | None
    p999_us: float | None
    beside: float | None
    client_busy: float | None
    calls: float | None
    wakeups: float | None
    ratio: Spread | None
    cpu_ratio: Spread | None
    p50_ratio: Spread | None


def counted_rounds(record):
    """Numbers of the rounds that count, and whether all of those were quiet. Beside
    busy neighbours all rounds count."""
    samples = [result["samples"] for result in record["loops"].values()
               if "error" not in result]
    worst = [max(sample["disturbed"] for sample in turn) for turn in zip(*samples)]
    if record.get("busy"):
        return list(range(len(worst))), True
    order = sorted(range(len(worst)), key=lambda number: worst[number])
    quiet = sum(share <= DISTURBED_SHARE for share in worst)
    least = min(len(worst), max(LEAST_ROUNDS, len(worst) // 2))
    return sorted(order[:max(quiet, least)]), quiet >= least


def row(record, name):
    """The Row of a loop in a stored scenario, or None where it has no result."""
    result = record["loops"].get(name)
    if not result or "error" in result or not result["samples"]:
        return None
    rounds, _ = counted_rounds(record)
    samples = [result["samples"][number] for number in rounds]
    base = record["loops"].get(record["baseline"], {"error": "absent"})
    pairs = [] if "error" in base else [
        (result["samples"][number], base["samples"][number]) for number in rounds]
    better = record["higher_is_better"]
    return Row(
        value=statistics.median(sample["value"] for sample in samples),
        cpu_us=_median(samples, "cpu_us"), p50_us=_median(samples, "p50_us"),
        p99_us=_median(samples, "p99_us"), p999_us=_median(samples, "p999_us"),
        beside=_median(samples, "beside"),
        client_busy=_median(samples, "client_busy"),
        calls=result.get("calls", {}).get("per_request"),
        wakeups=_median(samples, "wakeups"),
        ratio=_spread(pairs, "value", better),
        cpu_ratio=_spread(pairs, "cpu_us", higher_is_better=False),
        p50_ratio=_spread(pairs, "p50_us", higher_is_better=False))


def geometric_mean(values):
    values = [value for value in values if value]
    if not values:
        return None
    return math.exp(sum(map(math.log, values)) / len(values))


def _median(samples, key):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.median(values) if values else None


def _spread(pairs, key, higher_is_better):
    ratios = []
    for sample, base in pairs:
        ours, theirs = sample[key], base[key]
        if ours and theirs:
            ratios.append(ours / theirs if higher_is_better else theirs / ours)
    if not ratios:
        return None
    if len(ratios) == 1:
        return Spread(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Spread(median, low, high)
