"""Format stored records as the texts and rows of all tables."""

from benchmarks.judge import stats
from benchmarks.scenarios.loops import label

NONE = "–"


def loop_names(records):
    """The names of all loops in the records, in the order of first appearance."""
    names = {}
    for record in records.values():
        names.update(dict.fromkeys(record["loops"]))
    return list(names)


def last_line(error):
    """The last line of a traceback: the exception."""
    return (error.strip().splitlines() or ["no message"])[-1]


def trouble_word(result):
    """Why a loop has no numbers: its backend is missing, or its run failed."""
    return "missing" if result.get("missing") else "failed"


def trouble_text(result):
    return f"{trouble_word(result)}: {last_line(result.get('error', 'no samples'))}"


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
    """The title of a scenario, with a mark if the machine was not quiet."""
    _, quiet = stats.counted_rounds(record)
    return record["title"] + ("" if quiet else " †")


def summary(record):
    """One line for the terminal while a run goes on."""
    parts = []
    for name, result in record["loops"].items():
        row = stats.row(record, name)
        if row is None:
            parts.append(f"{label(name)} {trouble_text(result)}")
        elif name == record["baseline"] or row.ratio is None:
            parts.append(f"{label(name)} {value_text(row.value, record['unit'])}")
        else:
            cpu = f", CPU {row.cpu_ratio.median:.2f}" if row.cpu_ratio else ""
            parts.append(f"{label(name)} {spread_text(row.ratio)}{cpu}")
    return f"{title_of(record)}: " + "; ".join(parts)


def cells(record, name):
    """The cells of one loop in the detailed tables, without the scenario."""
    row = stats.row(record, name)
    if row is None:
        return [label(name), trouble_text(record["loops"][name]), *[NONE] * 8]
    base = name == record["baseline"]
    return [label(name), "1" if base else spread_text(row.ratio),
            ("1" if base else spread_text(row.cpu_ratio)) if row.cpu_us else NONE,
            value_text(row.value, record["unit"]), value_text(row.cpu_us),
            value_text(row.calls), value_text(row.wakeups), value_text(row.p50_us),
            value_text(row.p99_us), value_text(row.p999_us)]


HEADINGS = ("loop", "ratio (quartiles)", "CPU ratio", "median", "CPU µs", "calls",
            "wake-ups", "p50 µs", "p99 µs", "p99.9 µs")


def groups(records):
    found = {}
    for record in records.values():
        found.setdefault(record["group"], []).append(record)
    return found.items()


MEAN_HEADINGS = ("loop", "geometric mean", "lowest", "below 1", "scenarios",
                 "failed or missing")


def all_ratios(records, name):
    """[(ratio or None where it failed, record)] of a loop in all scenarios it has."""
    for record in records.values():
        if name in record["loops"]:
            row = stats.row(record, name)
            yield (row.ratio.median if row and row.ratio else None), record


def mean_rows(records, ratios_of):
    """A line per loop; `ratios_of` is all_ratios or goals.headline_ratios."""
    for name in loop_names(records):
        pairs = list(ratios_of(records, name))
        ratios = [(ratio, record["title"]) for ratio, record in pairs if ratio]
        failed = str(len(pairs) - len(ratios))
        if not ratios:
            if pairs:
                yield [label(name), NONE, NONE, NONE, "0", failed]
            continue
        worst, title = min(ratios)
        mean = stats.geometric_mean(ratio for ratio, _ in ratios)
        below = sum(round(ratio, 2) < 1 for ratio, _ in ratios)
        yield [label(name), f"{mean:.2f}", f"{worst:.2f} ({title})", str(below),
               str(len(ratios)), failed]
