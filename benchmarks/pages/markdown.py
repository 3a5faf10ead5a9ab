"""Format Markdown tables."""


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |",
             "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(_escaped(cell) for cell in row) + " |"
              for row in rows]
    return "\n".join(lines)


def _escaped(text):
    return text.replace("|", "\\|").replace("\n", " ")
