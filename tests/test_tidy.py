"""The shape of the code: who may know whom, how big things get, what is left lying."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "uring_loop"

# Folders are floors, modules at the top are floors of their own: a module imports from
# its own floor and from those below, never from one above.
FLOORS = (
    ("_version", "_compat", "lazy"),
    ("driver",),
    ("scheduler",),
    ("net", "process", "files", "guest"),
    ("loop",),
    ("running", "policy", "threads"),
    ("cli", "telemetry"),
    ("__init__", "__main__", "glib", "gunicorn", "hosts"),
)
FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}
# The guest's hosts are chosen by users, beside a Loop that they have made.
ABOVE_THE_LOOP = ("glib", "hosts")
# These know the kernel, not asyncio.
WITHOUT_ASYNCIO = ("driver",)

LINE_MAX = 88
FUNCTION_MAX = 50
FILE_MAX = {".py": 450, ".pyi": 450, ".pyx": 700, ".pxd": 450, ".h": 450, ".c": 450}

FOLDERS = ("uring_loop", "include", "tests", "benchmarks", "examples", "docs", ".ci")
TEXT = {*FILE_MAX, ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".in", ".svg", ""}
# Written in pieces, so that this file does not find itself.
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
WORKPLACE = re.compile(r"/wo" r"rk/|/ro" r"ot/|/tm" r"p/brief")
VERSION_TEST = re.compile(r"version_info|hexversion|PY_VERSION|PY_(MAJ|MIN)OR")
TEXTUAL_INCLUDE = re.compile(r"""^\s*include\s+["']""", re.MULTILINE)


def code(path):
    return path.read_text("utf-8")


def generated(path):
    """Is it made by Cython, in a checkout that was built in place?"""
    return PACKAGE in path.parents and path.suffix in (".c", ".cpp", ".html")


def project_files():
    """Every text file of the project, as far as it has been written."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    inner = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")]
    return sorted(
        path
        for path in top + inner
        if path.is_file()
        and path.suffix in TEXT
        and not generated(path)
        and not {"__pycache__", "build", ".hypothesis"} & set(path.parts)
    )


FILES = project_files()
CODE = [path for path in FILES if path.suffix in FILE_MAX]
MODULES = [
    path
    for path in CODE
    if PACKAGE in path.parents and path.suffix in (".py", ".pyx", ".pxd")
]


def shown(path):
    return str(path.relative_to(ROOT))


def hits(pattern, paths):
    """["file:line: text"] for every line in which the pattern is found."""
    return [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(code(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_there_is_something_to_look_at():
    assert pathlib.Path(__file__).resolve() in FILES
    assert MODULES or not PACKAGE.exists()


# ---- floors ---------------------------------------------------------------------

FROM = re.compile(
    r"^[ \t]*from[ \t]+uring_loop((?:\.\w+)*)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n#]*)",
    re.MULTILINE,
)
PLAIN = re.compile(r"^[ \t]*c?import[ \t]+uring_loop\.(\w+)", re.MULTILINE)


def imported(path):
    """Floors that a file imports or cimports from."""
    text = code(path)
    found = set(PLAIN.findall(text))
    for module, names in FROM.findall(text):
        if module:
            found.add(module.split(".")[1])
        else:
            found |= set(re.findall(r"(\w+)(?: +as +\w+)?", names)) & set(FLOOR_OF)
    return found


def floor(path):
    """The name of the floor that a module stands on."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else path.stem


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_module_imports_only_from_its_floor_and_those_below(path):
    assert floor(path) in FLOOR_OF, f"give {floor(path)} a place in FLOORS"
    level = FLOOR_OF[floor(path)]
    if path.stem in ABOVE_THE_LOOP:
        level = FLOOR_OF["threads"]
    others = imported(path) - {floor(path)}
    assert [n for n in others if FLOOR_OF.get(n, len(FLOORS)) >= level] == []


def test_the_driver_never_hears_of_asyncio():
    low = [path for path in MODULES if floor(path) in WITHOUT_ASYNCIO]
    assert hits(re.compile(r"^\s*(c?import|from)\s+asyncio\b"), low) == []


def test_every_compiled_module_has_a_pxd():
    sources = [path for path in MODULES if path.suffix == ".pyx"]
    assert [shown(p) for p in sources if not p.with_suffix(".pxd").exists()] == []


def test_nothing_is_included_as_text():
    paths = [path for path in MODULES if path.suffix != ".py"]
    assert [shown(p) for p in paths if TEXTUAL_INCLUDE.search(code(p))] == []


def test_no_compiled_except_clause_returns():
    """Cython crashes there if there was no memory for the exception's traceback."""
    found = []
    for path in MODULES:
        clauses = []
        for number, line in enumerate(code(path).splitlines(), 1):
            indent = len(line) - len(line.lstrip())
            while line.strip() and clauses and indent <= clauses[-1]:
                clauses.pop()
            if path.suffix == ".pyx" and clauses and re.match(r" *return\b", line):
                found.append(f"{shown(path)}:{number}: {line.strip()}")
            if re.match(r" *except\b", line):
                clauses.append(indent)
    assert found == []


def test_only_compat_asks_for_the_version_of_python():
    assert hits(VERSION_TEST, [p for p in MODULES if p.stem != "_compat"]) == []


# ---- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("path", CODE, ids=shown)
def test_file_keeps_the_limits(path):
    lines = code(path).splitlines()
    assert len(lines) <= FILE_MAX[path.suffix]
    wide = [n for n, line in enumerate(lines, 1) if len(line.expandtabs(8)) > LINE_MAX]
    assert wide == [], f"lines over {LINE_MAX} characters"
    long = [f"{name}: {n} lines" for name, n in functions(path) if n > FUNCTION_MAX]
    assert long == [], f"functions over {FUNCTION_MAX} lines"


def functions(path):
    """(name, lines) of each function in a file."""
    if path.suffix in (".py", ".pyi"):
        return python_functions(code(path))
    if path.suffix in (".pyx", ".pxd"):
        return cython_functions(code(path).splitlines())
    return c_functions(code(path).splitlines())


def python_functions(text):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, kinds):
            yield node.name, node.end_lineno - node.lineno + 1


DEFINITION = re.compile(r"^( *)(?:async |cdef |cpdef |def )(?!class )[^#]*?(\w+)\(.*$")
# What may stand at a function's own indentation inside it: the end of its signature.
SIGNATURE_END = re.compile(r"^ *\).*:\s*(#.*)?$")


def cython_functions(lines):
    for start, line in enumerate(lines):
        found = DEFINITION.match(line)
        if found is None:
            continue
        indent, last = len(found[1]), start
        for number in range(start + 1, len(lines)):
            text = lines[number]
            if not text.strip() or SIGNATURE_END.match(text):
                continue
            if len(text) - len(text.lstrip()) <= indent:
                break
            last = number
        yield found[2], last - start + 1


def c_functions(lines):
    """From an opening brace in column 0, or at a line's end, to a brace in column 0."""
    start = None
    for number, line in enumerate(lines):
        if start is None and line.endswith("{") and not line.startswith(("\t", " ")):
            start = number
        elif start is not None and line.startswith("}"):
            if line == "}":
                yield lines[max(start - 1, 0)].strip(), number - start + 1
            start = None


# ---- what is left lying -----------------------------------------------------------


def test_no_note_to_self_is_left():
    assert hits(LEFTOVER, FILES) == []


def test_no_path_of_one_machine_is_named():
    assert hits(WORKPLACE, FILES) == []


@pytest.mark.parametrize("path", CODE, ids=shown)
def test_file_says_in_its_first_sentence_what_it_is_for(path):
    text = code(path)
    if path.suffix in (".py", ".pyx"):
        assert re.match(r'(#!.*\n)?(# distutils:.*\n)*r?"""\w', text), "no docstring"
    elif path.suffix in (".h", ".c"):
        assert re.match(r"(/\* SPDX.*\n|// SPDX.*\n)?(/\*|//)", text), "no comment"


def test_changelog_begins_with_the_version_of_the_package():
    changelog, source = code(ROOT / "CHANGELOG.md"), code(PACKAGE / "_version.py")
    top = re.search(r"^## \[?v?(\d[\w.]*)", changelog, re.MULTILINE)
    version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    assert top and version
    assert top[1] == version[1]
