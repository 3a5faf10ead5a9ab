"""The list of compiled modules, which share one file: all of them, in an order that
works."""

import pathlib
import re

import uring_loop
from uring_loop import native

PACKAGE = pathlib.Path(uring_loop.__file__).parent
NAMES = re.compile(r"^\s*(?:from|cimport|import) +uring_loop\.([\w.]+)", re.MULTILINE)


def sources():
    """Module name -> its sources; the installed package has its .pxd files only."""
    found = {}
    for path in sorted(PACKAGE.glob("*/*.p[yx][xd]")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.setdefault(name, []).append(path.read_text("utf-8"))
    return found


def test_every_module_is_listed_once():
    declarations = {"driver.uapi", "driver.libc", "driver.capi"}
    assert len(set(native.MODULES)) == len(native.MODULES)
    assert set(native.MODULES) == set(sources()) - declarations


def test_names_without_their_folders_are_unique():
    """One file cannot hold two functions PyInit_NAME."""
    names = [name.rpartition(".")[2] for name in native.MODULES]
    assert len(set(names)) == len(names)


def test_a_module_comes_after_those_that_it_imports():
    texts = sources()
    for place, name in enumerate(native.MODULES):
        needed = set(NAMES.findall("\n".join(texts[name]))) & set(native.MODULES)
        assert needed - {name} <= set(native.MODULES[:place]), name


def test_an_import_finds_the_module_that_was_loaded():
    for name in native.MODULES:
        module = __import__(f"uring_loop.{name}", fromlist=["_"])
        folder, _, basename = name.rpartition(".")
        package = __import__(f"uring_loop.{folder}", fromlist=["_"])
        assert getattr(package, basename) is module
        assert module.__spec__.name == module.__name__ == f"uring_loop.{name}"
        assert module.__file__ == module.__spec__.origin == native.shared_object()
