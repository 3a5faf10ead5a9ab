"""What stored records say, as the words and rows of all tables."""

from benchmarks import stats

NONE = "–"


def loop_names(records):
    """Every loop that some record has, in the order of first appearance."""
    names = {}
    for record in records.values():
        names.update(dict.fromkeys(record["loops"]))
    return list(names)


def last_line(error):
    """Of a traceback, the line that says what happened."""
    return (error.strip().splitlines() or ["no message"])[-1]


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
            parts.append(f"{name} failed: "
                         f"{last_line(result.get('error', 'no samples'))}")
        elif name == record["baseline"] or row.ratio is None:
            parts.append(f"{name} {value_text(row.value, record['unit'])}")
        else:
            cpu = f", CPU {row.cpu_ratio.median:.2f}" if row.cpu_ratio else ""
            parts.append(f"{name} {spread_text(row.ratio)}{cpu}")
    return f"{title_of(record)}: " + "; ".join(parts)


def cells(record, name):
    """One loop's line in the detailed tables, without the scenario."""
    row = stats.row(record, name)
    if row is None:
        error = record["loops"][name].get("error", "no samples")
        return [name, f"failed: {last_line(error)}", *[NONE] * 7]
    base = name == record["baseline"]
    return [name, "1" if base else spread_text(row.ratio),
            ("1" if base else spread_text(row.cpu_ratio)) if row.cpu_us else NONE,
            value_text(row.value, record["unit"]), value_text(row.cpu_us),
            value_text(row.calls), value_text(row.p50_us), value_text(row.p99_us),
            value_text(row.p999_us)]


HEADINGS = ("loop", "ratio (quartiles)", "CPU ratio", "median", "CPU µs", "calls",
            "p50 µs", "p99 µs", "p99.9 µs")


def groups(records):
    found = {}
    for record in records.values():
        found.setdefault(record["group"], []).append(record)
    return found.items()


MEAN_HEADINGS = ("loop", "geometric mean", "lowest", "below 1", "scenarios", "failed")


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
                yield [name, NONE, NONE, NONE, "0", failed]
            continue
        worst, title = min(ratios)
        mean = stats.geometric_mean(ratio for ratio, _ in ratios)
        below = sum(round(ratio, 2) < 1 for ratio, _ in ratios)
        yield [name, f"{mean:.2f}", f"{worst:.2f} ({title})", str(below),
               str(len(ratios)), failed]
