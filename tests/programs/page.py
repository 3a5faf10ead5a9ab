"""Reads the recipes from docs/programs.md."""

import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "programs.md"
SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
# A file's name may stand before its text.
BLOCK = re.compile(r"(?:`([\w.]+)`[^`\n]*:\n\n)?^```(\w+)\n(.*?)^```",
                   re.MULTILINE | re.DOTALL)


class Recipe:
    """One section of the page.

    command  the shell command, or None
    files    {name: text}; Python code without a name is the program that the command
             names, or program.py
    """

    def __init__(self, text):
        self.command = None
        self.files = {}
        code = None
        for name, language, block in BLOCK.findall(text):
            if language == "sh":
                self.command = block.strip()
            elif name:
                self.files[name] = block
            else:
                code = block
        if code is not None:
            self.files[self.program] = code

    @property
    def program(self):
        named = re.search(r"\b(\w+\.py)$", self.command or "")
        return named[1] if named else "program.py"


def read():
    """{heading: Recipe}, in the page's order."""
    found = SECTION.findall(PAGE.read_text("utf-8"))
    return {heading: Recipe(text) for heading, text in found}


RECIPES = read()
