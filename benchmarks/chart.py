"""Draw docs/img/performance.svg out of stored records."""

from pathlib import Path

import matplotlib
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks import report, stats

matplotlib.use("svg")
# The same records must give the same file.
matplotlib.rcParams["svg.hashsalt"] = "uring_loop"

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

ROW_INCHES = 0.42
WIDTH_INCHES = 11
TICKS = (0.125, 0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 8, 16)
COLORS = ("#d1495b", "#1f6f8b", "#8f8f8f", "#edae49", "#66a182", "#7d4e9e")
PANELS = (("ratio", "throughput"), ("cpu_ratio", "CPU per request"))


def write(records, path):
    """One line per headline scenario; left throughput, right CPU per request."""
    records = [record for record in records.values() if record["chart"]]
    if not records:
        return None
    baseline = records[0]["baseline"]
    names = [name for name in report.loop_names({r["name"]: r for r in records})
             if name != baseline]
    # The loop of this project first: in the strongest colour, drawn on top.
    names.sort(key=lambda name: not name.startswith("uring_loop"))
    figure, axes = pyplot.subplots(
        1, 2, sharey=True, figsize=(WIDTH_INCHES, 1.4 + ROW_INCHES * len(records)))
    for axis, (field, title) in zip(axes, PANELS):
        for number, name in enumerate(names):
            _draw_loop(axis, records, name, field, number, len(names))
        _dress(axis, f"{title}, ratio to {baseline} (right is better)")
    axes[0].set_yticks(range(len(records)),
                       [report.title_of(record) for record in records])
    axes[0].set_ylim(len(records) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="upper right", ncols=len(handles),
                      frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / figure.get_figheight()))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _draw_loop(axis, records, name, field, number, names_count):
    positions, medians, lows, highs = [], [], [], []
    for position, record in enumerate(records):
        row = stats.row(record, name)
        spread = getattr(row, field) if row else None
        if spread:
            # Loops of one scenario lie beside each other, not on top.
            shift = (number - (names_count - 1) / 2) * 0.6 / names_count
            positions.append(position + shift)
            medians.append(spread.median)
            lows.append(spread.median - spread.low)
            highs.append(spread.high - spread.median)
    axis.errorbar(medians, positions, xerr=(lows, highs), fmt="o", markersize=5,
                  capsize=2, color=COLORS[number % len(COLORS)], label=name,
                  zorder=3 + names_count - number)


def _dress(axis, title):
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    axis.xaxis.set_major_locator(FixedLocator(TICKS))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(axis="x", color="#dddddd")
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
