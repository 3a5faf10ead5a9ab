"""Write the performance page and its charts into a folder."""

import importlib.util

from benchmarks.pages import performance


def write(records, others, folder):
    """Answers the paths of the page and of the charts that have data.

    others  Records of the tables beside the main one, by file name
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "performance.md"
    page.write_text(performance.markdown(records, others))
    if importlib.util.find_spec("matplotlib") is None:
        # The run has said so at its start.
        return [page]
    from benchmarks.pages import chart
    return [page, *filter(None, (
        chart.write(records, folder / "img" / "performance.svg"),
        chart.write_scale(records, folder / "img" / "scale.svg")))]
