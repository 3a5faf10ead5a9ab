"""Sphinx's settings for `make docs`: the pages of this folder as a site."""

import re
from importlib.metadata import version as version_of
from pathlib import Path

project = "uring_loop"
author = "the authors of uring_loop"
version = release = version_of("uring-loop")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"uring_loop {release}"
exclude_patterns = ["requirements.txt"]
myst_heading_anchors = 4

# Docstrings have single backticks for code, as the comments have.
default_role = "literal"
autodoc_mock_imports = ["gi"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(\.\./([^)#]+)(#[^)]*)?\)")
# Files at the top that are pages of the site as well.
PAGES = {"README.md": "start.md", "CHANGELOG.md": "changelog.md",
         "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security-policy.md"}
MARKUP = re.compile(r"(`[^`]*`)|([*|\\]|_\b)")
TABLE = re.compile(r"^\s|\S {2,}\S", re.MULTILINE)


def setup(app):
    app.connect("source-read", link_to_pages)
    app.connect("include-read", link_to_pages_of_included)
    app.connect("autodoc-process-docstring", as_restructured_text)


def link_to_pages(app, page, source):
    """The pages are read in the repository, too: a link to a file at the top becomes
    one to its page here, and another file is offered for download."""
    source[0] = with_links(source[0])


def link_to_pages_of_included(app, path, page, source):
    source[0] = with_links(re.sub(r"\]\((?=[A-Z]+\.md)", "](../", source[0]))


def with_links(text):
    def replace(found):
        path, anchor = found[1], found[2] or ""
        if path in PAGES:
            return f"]({PAGES[path]}{anchor})"
        assert (ROOT / path).exists(), f"a link to {path}, which is not there"
        return f"](path:../{path})"

    return LINK.sub(replace, text)


def as_restructured_text(app, what, name, thing, options, lines):
    """The docstrings are plain text: a paragraph with columns or indentation is shown
    as it stands."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    shown = []
    for text in paragraphs:
        if TABLE.search(text):
            shown += ["::", "", *(f"    {line}" for line in text.split("\n")), ""]
        else:
            shown += [MARKUP.sub(escaped, text).removesuffix("::"), ""]
    lines[:] = "\n".join(shown).split("\n")


def escaped(found):
    return found[1] or "\\" + found[2]
