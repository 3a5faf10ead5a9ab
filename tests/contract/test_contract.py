"""The stdlib still has the private names we use, with the signatures we use."""

import asyncio
import importlib
import inspect
import pathlib
import re
import sys

import pytest

from . import table

VERSION = sys.version_info[:2]
SOURCES = pathlib.Path(__file__).resolve().parents[2] / "uring_loop"
MODULES = (
    "base_events|base_subprocess|constants|coroutines|events|format_helpers|futures"
    "|protocols|selector_events|sslproto|tasks|transports|trsock|unix_events"
)
# Private attributes of asyncio's modules, and format_helpers, which is private itself.
REACHED = re.compile(
    rf"(?<![\w.])(?:asyncio\.)?((?:{MODULES})\._(?!_)\w+|format_helpers\.\w+)"
)


def as_version(text):
    return tuple(map(int, text.split(".")))


def expected(value):
    """The table's value for the running version."""
    if not isinstance(value, dict):
        return value
    since = max(v for v in map(as_version, value) if v <= VERSION)
    return value[".".join(map(str, since))]


def names_now(since):
    """Names of a {name: version it begins with} that the running version has."""
    return [name for name, version in since.items() if as_version(version) <= VERSION]


def find(name):
    module, _, rest = name.partition(".")
    found = importlib.import_module(f"asyncio.{module}")
    for part in rest.split("."):
        found = getattr(found, part)
    return found


def signature(function):
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    return prefix + str(inspect.signature(function))


@pytest.mark.parametrize("name", table.SIGNATURES)
def test_stdlib_has_this_signature(name):
    wanted = expected(table.SIGNATURES[name])
    if wanted is None:
        with pytest.raises(AttributeError):
            find(name)
    else:
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        assert signature(find(name)) in wanted


@pytest.mark.parametrize("name", table.CONSTANTS)
def test_stdlib_has_this_constant(name):
    value = find(name)
    assert (type(value), value) == (type(table.CONSTANTS[name]), table.CONSTANTS[name])


@pytest.mark.parametrize("name", names_now(table.PRESENT))
def test_stdlib_has_this_name(name):
    assert find(name) is not None


def test_stdlib_sets_exactly_these_fields():
    loop = asyncio.SelectorEventLoop()
    try:
        assert set(vars(loop)) == set(names_now(table.FIELDS))
    finally:
        loop.close()


@pytest.mark.parametrize("name", table.HANDLE_SLOTS)
def test_handle_has_this_attribute(name):
    assert name in asyncio.Handle.__slots__


@pytest.mark.parametrize("name", table.TIMER_SLOTS)
def test_timer_handle_has_this_attribute(name):
    assert name in asyncio.TimerHandle.__slots__


@pytest.fixture(scope="module")
def ours():
    import uring_loop

    return uring_loop.Loop


def test_our_loop_has_every_field(ours):
    loop = ours()
    try:
        assert [n for n in names_now(table.FIELDS) if not hasattr(loop, n)] == []
    finally:
        loop.close()


def overrides(ours):
    """(name, our function, the stdlib's) for everything that we put in front."""
    for cls in ours.__mro__[: ours.__mro__.index(asyncio.SelectorEventLoop)]:
        for name in list(vars(cls)):
            function = getattr(cls, name)
            theirs = getattr(asyncio.SelectorEventLoop, name, None)
            if inspect.isfunction(theirs) and name not in ("__init__", "__new__"):
                yield name, function, theirs


def unlike(function, theirs):
    """What keeps a call written for the stdlib's method from reaching ours."""
    mine = inspect.signature(function).parameters.values()
    kinds = {p.kind for p in mine}
    names = [(p.name, p.kind) for p in mine]
    missing = [
        str(p)
        for p in inspect.signature(theirs).parameters.values()
        if (p.name, p.kind) not in names
        and not (p.kind is p.KEYWORD_ONLY and p.VAR_KEYWORD in kinds)
        and not {p.VAR_POSITIONAL, p.VAR_KEYWORD} <= kinds
    ]
    if inspect.iscoroutinefunction(theirs) != inspect.iscoroutinefunction(function):
        missing.append("async")
    return missing


def test_our_overrides_accept_the_calls_of_the_stdlib(ours):
    found = list(overrides(ours))
    assert found, "Loop overrides nothing of asyncio.SelectorEventLoop"
    wrong = {name: unlike(mine, theirs) for name, mine, theirs in found}
    assert {name: what for name, what in wrong.items() if what} == {}


def reached_names():
    """{module.name: file} of what our sources take from asyncio's private side."""
    return {
        match: path.name
        for path in sorted(SOURCES.glob("*.py*"))
        for match in REACHED.findall(path.read_text("utf-8"))
    }


def test_every_private_name_we_reach_is_in_the_table():
    tables = {**table.SIGNATURES, **table.CONSTANTS, **table.PRESENT}
    listed = {".".join(name.split(".")[:2]) for name in tables}
    unlisted = {n: f for n, f in reached_names().items() if n not in listed}
    assert unlisted == {}
