"""Draw the charts of docs/performance.md from stored records."""

import matplotlib
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.judge import goals, stats
from benchmarks.pages import rows
from benchmarks.scenarios import loops

matplotlib.use("svg")
# The same records must give the same file.
matplotlib.rcParams["svg.hashsalt"] = "uring_loop"

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

ROW_INCHES = 0.42
WIDTH_INCHES = 11
TICKS = (0.25, 0.5, 0.7, 1, 1.4, 2, 4, 8, 16)
# Values beyond the edges are drawn at the edge.
EDGES = (0.25, 16)
SCALE_TICKS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 80)
COLORS = ("#d1495b", "#1f6f8b", "#8f8f8f", "#edae49", "#66a182", "#7d4e9e")
SCALE_INCHES = (7, 4)
PANELS = (("ratio", "throughput"), ("cpu_ratio", "CPU per request"))


def write(records, path):
    """One line per headline scenario; left throughput, right CPU per request."""
    records = [record for record in records.values() if record["chart"]]
    if not records:
        return None
    baseline = records[0]["baseline"]
    # A variant that only one scenario has would be a single mark.
    names = [name for name in rows.loop_names({r["name"]: r for r in records})
             if name != baseline and (":" not in name or name == loops.EPOLL)]
    # This project's loops come first: strongest colour, drawn on top.
    names.sort(key=lambda name: not name.startswith("uring_loop"))
    figure, axes = pyplot.subplots(
        1, 2, sharey=True, figsize=(WIDTH_INCHES, 1.4 + ROW_INCHES * len(records)))
    for axis, (field, title) in zip(axes, PANELS):
        for number, name in enumerate(names):
            _draw_loop(axis, records, name, field, number, len(names))
        _draw_goals(axis, records, field)
        _dress(axis, f"{title}, ratio to {baseline} (right is better)")
    axes[0].set_yticks(range(len(records)),
                       [rows.title_of(record) for record in records])
    axes[0].set_ylim(len(records) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="upper right", ncols=len(handles),
                      frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / figure.get_figheight()))
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
            medians.append(min(max(spread.median, EDGES[0]), EDGES[1]))
            lows.append(spread.median - spread.low)
            highs.append(spread.high - spread.median)
    axis.errorbar(medians, positions, xerr=(lows, highs), fmt="o", markersize=5,
                  capsize=2, color=COLORS[number % len(COLORS)],
                  label=loops.label(name),
                  zorder=3 + names_count - number)


def _draw_goals(axis, records, field):
    positions = {record["name"]: number for number, record in enumerate(records)}
    points = [(goal.number, positions[goal.scenario]) for goal in goals.GOALS
              if goal.measure == field and goal.scenario in positions]
    if points:
        axis.scatter(*zip(*points), marker="<", s=28, color="#222222", label="goal",
                     zorder=2)


def write_scale(records, path):
    """CPU time per request over the number of connections, a line per loop."""
    records = [record for record in records.values()
               if record["group"] == "Scale" and record["name"][6:].isdigit()]
    if not records:
        return None
    figure, axis = pyplot.subplots(figsize=SCALE_INCHES)
    names = sorted(records[0]["loops"], key=lambda name: name != goals.OURS)
    for number, name in enumerate(names):
        points = [(record["connections"], row.cpu_us) for record in records
                  if (row := stats.row(record, name))]
        if points:
            axis.plot(*zip(*points), "o-", color=COLORS[number],
                      label=loops.label(name))
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(FixedLocator(SCALE_TICKS))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel("connections, one request of 64 B in flight on each")
    axis.set_ylabel("CPU µs per request")
    axis.grid(color="#dddddd")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _dress(axis, title):
    axis.set_xscale("log")
    axis.set_xlim(EDGES[0] * 0.93, EDGES[1] * 1.07)
    axis.axvline(1, color="black", linewidth=1)
    axis.xaxis.set_major_locator(FixedLocator(TICKS))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(axis="x", color="#dddddd")
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
