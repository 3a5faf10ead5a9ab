"""Format the tables of a run for the terminal."""

from rich.table import Table

from benchmarks.pages.rows import (HEADINGS, MEAN_HEADINGS, all_ratios, cells,
                                   groups, mean_rows, title_of)


def tables(records):
    """A rich Table per group, and one of geometric means."""
    for group, members in groups(records):
        table = Table(title=group, title_justify="left")
        table.add_column("scenario")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "loop" else "right")
        for record in members:
            title = title_of(record)
            for name in record["loops"]:
                table.add_row(title, *cells(record, name))
                title = ""
            table.add_section()
        yield table
    means = Table(title="Geometric mean of all scenarios", title_justify="left")
    for heading in MEAN_HEADINGS:
        means.add_column(heading)
    for row in mean_rows(records, all_ratios):
        means.add_row(*row)
    yield means
