"""Draw docs/img/files.svg: the rate of each contender as a share of fio's."""

import statistics

import matplotlib

matplotlib.use("svg")
# The same numbers must give the same file.
matplotlib.rcParams["svg.hashsalt"] = "uring_loop"

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

MARKS = "osD^vP*X"


def write(cells, names, path):
    """One line per cell, one mark per contender; names: {in the cells: shown}."""
    figure, axis = pyplot.subplots(figsize=(11, 1.4 + 0.5 * len(cells)))
    for mark, (name, shown) in zip(MARKS, names.items()):
        points = [(share, row) for row, cell in enumerate(cells.values())
                  if (share := share_of_fio(cell, name)) is not None]
        if points:
            axis.plot(*zip(*points), mark, label=shown, alpha=0.8)
    axis.axvline(100, color="black", linewidth=0.8)
    axis.set_yticks(range(len(cells)), cells)
    axis.set_ylim(len(cells) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_xlabel("operations per second, percent of fio --ioengine=io_uring")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=len(names),
                frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def share_of_fio(cell, name):
    found, fio = cell.get(name), cell["fio"]
    if not found or isinstance(found, str) or isinstance(fio, str):
        return None
    median = statistics.median(rate for rate, _ in found)
    return 100 * median / statistics.median(rate for rate, _ in fio)
