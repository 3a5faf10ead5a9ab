"""Prints tables: with colours by rich if it is installed, else as plain text."""

try:
    import rich.console
    import rich.table
    import rich.text
except ImportError:
    rich = None

# How a cell's text is shown; the same words for both kinds of output.
STYLES = {"ok": "green", "warn": "yellow", "bad": "red bold", "": ""}
INDENT = "  "


class Cell(str):
    """A text with a mark: one of STYLES."""

    def __new__(cls, text, mark=""):
        cell = super().__new__(cls, text)
        cell.mark = mark
        return cell


def mark_of(text):
    return getattr(text, "mark", "")


class Printer:
    """Prints titles, tables and lines to standard output."""

    def __init__(self, plain=False):
        self.console = None
        if rich is not None and not plain:
            # It knows NO_COLOR, and leaves colours out where nobody sees them.
            self.console = rich.console.Console(highlight=False)

    def title(self, text):
        if self.console is None:
            print(f"\n{text}")
        else:
            self.console.print(f"\n[bold]{text}[/bold]")

    def line(self, text, mark=""):
        if self.console is None:
            print(text)
        else:
            self.console.print(text, style=STYLES[mark], markup=False, soft_wrap=True)

    def table(self, rows, header=None):
        """Rows of equal length; the first column names the row."""
        if self.console is None:
            self._plain_table([*([header] if header else []), *rows])
            return
        table = rich.table.Table(
            box=None, show_header=header is not None, padding=(0, 1), pad_edge=True)
        for name in header or rows[0]:
            table.add_column(str(name) if header else None, overflow="fold")
        for row in rows:
            table.add_row(*(rich.text.Text(cell, style=STYLES[mark_of(cell)])
                            for cell in row))
        self.console.print(table)

    def _plain_table(self, rows):
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            print(f"{INDENT}{(INDENT * 2).join(cells)}".rstrip())

