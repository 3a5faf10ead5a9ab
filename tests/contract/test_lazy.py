"""The modules that are registered at start-up and run when they are first used."""

import ast
import importlib.machinery
import os
import pathlib
import re
import subprocess
import sys
import threading
import types
import zipfile

import pytest
import uring_loop
from uring_loop import lazy

from tests.slowness import PATIENCE_SECONDS

PACKAGE = pathlib.Path(uring_loop.__file__).parent
NAMES = re.compile(r"^\s*(?:from|cimport|import) +uring_loop\.([\w.]+)", re.MULTILINE)
# Chosen by users beside a loop that they have made: ordinary imports.
ORDINARY = {"lazy", "glib", "hosts", "guest.glib", "guest.hosts", "gunicorn",
            "__main__"}
# The package imports neither the commands of `python -m uring_loop` nor telemetry.
OPTIONAL = ("cli", "telemetry")


def sources():
    """Module name -> its sources; the installed package has its .pxd files only."""
    found = {}
    for path in sorted(PACKAGE.glob("*/*.p[yx][xd]")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.setdefault(name, []).append(path.read_text("utf-8"))
    return found


def python_modules():
    return [f"{package}.{name}".lstrip(".")
            for package, names in lazy.PYTHON.items() for name in names]


def run(code, *options):
    """The output of a child, by lines."""
    answer = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, env=dict(os.environ, PYTHONPATH=str(PACKAGE.parent)))
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


# ---- the lists


def test_every_compiled_module_is_listed_once():
    declarations = {"driver.uapi", "driver.libc", "driver.capi"}
    assert len(set(lazy.COMPILED)) == len(lazy.COMPILED)
    assert set(lazy.COMPILED) == set(sources()) - declarations


def test_every_python_module_is_listed_once():
    paths = [path.relative_to(PACKAGE).with_suffix("").parts
             for path in [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/*.py")]
             if path.parent.name not in OPTIONAL]
    packages = {parts[0] for parts in paths if parts[1:] == ("__init__",)}
    modules = {".".join(parts) for parts in paths if parts[-1] != "__init__"}
    assert set(lazy.PYTHON) == packages | {""}
    assert sorted(python_modules()) == sorted(modules - ORDINARY)


def test_only_packages_without_code_are_not_run():
    empty = {package for package in lazy.PYTHON if package
             and [*map(type, ast.parse((PACKAGE / package / "__init__.py").read_text(
                 "utf-8")).body)] == [ast.Expr]}
    assert set(lazy.EMPTY) == empty


def test_names_without_their_folders_are_unique():
    """One file cannot hold two functions PyInit_NAME."""
    names = [name.rpartition(".")[2] for name in lazy.COMPILED]
    assert len(set(names)) == len(names)


def test_a_module_comes_after_those_that_it_imports():
    texts = sources()
    for place, name in enumerate(lazy.COMPILED):
        needed = set(NAMES.findall("\n".join(texts[name]))) & set(lazy.COMPILED)
        assert needed - {name} <= set(lazy.COMPILED[:place]), name


# ---- the modules


@pytest.mark.parametrize("name", [*lazy.COMPILED, *python_modules()])
def test_an_import_finds_the_module_that_was_registered(name):
    module = __import__(f"uring_loop.{name}", fromlist=["_"])
    folder, _, basename = name.rpartition(".")
    package = __import__(f"uring_loop.{folder}".rstrip("."), fromlist=["_"])
    assert getattr(package, basename) is module
    assert module.__spec__.name == module.__name__ == f"uring_loop.{name}"
    assert module.__package__ == module.__spec__.parent == package.__name__
    assert module.__file__ == module.__spec__.origin
    assert module.__loader__ is module.__spec__.loader


LAZY_AT_FIRST = """
import sys, types, uring_loop
uring_loop.new_event_loop().close()
opening = sys.modules["uring_loop.files.opening"]
stream = sys.modules["uring_loop.net.stream"]
"""


@pytest.mark.parametrize("use, result", [
    ("opening.open", True),
    ("from uring_loop.files.opening import open", True),
    ("from uring_loop import open", True),
    ("import uring_loop.fs; uring_loop.fs.stat; opening = uring_loop.fs", True),
    ("dir(opening)", True),
    ("opening.new = 1", True),
    ("del opening.open", True),
    # Questions that tools ask of all modules, and the import system.
    ("import uring_loop.files.opening", False),
    ("getattr(opening, '__warningregistry__', None)", False),
    ("hasattr(opening, '__path__'), hasattr(opening, '__wrapped__')", False),
])
def test_the_first_use_runs_a_module(use, result):
    assert run(f"""{LAZY_AT_FIRST}
kind = type(opening)
{use}
print(kind is types.ModuleType, type(opening) is types.ModuleType)
""") == [f"False {result}"]


def test_a_compiled_module_runs_at_its_first_use():
    assert run(LAZY_AT_FIRST + """
transport = sys.modules["uring_loop.net.transport"]
print(type(transport) is types.ModuleType)
print(hasattr(transport, "__pyx_capi__"), type(transport) is types.ModuleType)
print(stream.StreamTransport.__module__)
""") == ["False", "True True", "uring_loop.net.stream"]


def test_what_was_set_before_the_first_use_stays():
    assert run(LAZY_AT_FIRST + "opening.open = 5\nprint(opening.open)") == ["5"]


def test_a_missing_name_is_an_attribute_error():
    assert run(LAZY_AT_FIRST + """
for _ in range(2):
    try:
        opening.no_such_name
    except AttributeError as error:
        print(error)
""") == ["module 'uring_loop.files.opening' has no attribute 'no_such_name'"] * 2


def test_a_module_that_failed_runs_again():
    """Not a module that is there by half, for instance after Ctrl-C."""
    assert run(LAZY_AT_FIRST + """
import builtins
def fail(*args): raise MemoryError
build_class, builtins.__build_class__ = builtins.__build_class__, fail
try:
    opening.open
except MemoryError:
    print("failed")
builtins.__build_class__ = build_class
print(opening.open.__name__)
""") == ["failed", "open"]


def test_threads_wait_for_a_module_that_another_thread_runs():
    assert run(LAZY_AT_FIRST + """
import threading
sys.setswitchinterval(1e-6)
lines = threading.Barrier(8)
results = set()
def use():
    lines.wait()
    results.add(opening.open)
    results.add(stream.StreamTransport)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(results))
""") == ["2"]


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent():
    assert run(LAZY_AT_FIRST + """
import os, threading
from uring_loop import lazy
held, done = threading.Event(), threading.Event()
def hold():
    with lazy._lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(opening.open.__name__ != "open")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
""") == ["0"]


def test_no_file_is_opened_after_the_loop_was_made():
    """Every module runs from memory."""
    assert run("""
import sys, uring_loop
loop = uring_loop.new_event_loop()
opened = []
def note(event, args):
    if event in ("open", "import", "os.listdir"):
        opened.append(args[0])
import pathlib      # of uring_loop.Path, which imports it at its first use
sys.addaudithook(note)
from uring_loop import lazy
for name in [*lazy._waiting]:
    dir(sys.modules[name])
print(len(lazy._waiting), opened)
loop.close()
""") == ["0 []"]


# ---- bytecode


@pytest.fixture
def module(tmp_path):
    """(path, spec) of a module whose bytecode has been stored."""
    path = tmp_path / "lazy_example.py"
    path.write_text("VALUE = 1\n")
    sys.path.insert(0, str(tmp_path))
    try:
        __import__("lazy_example")
        yield path, sys.modules["lazy_example"].__spec__
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("lazy_example", None)


@pytest.mark.skipif(sys.dont_write_bytecode, reason="Python stores no bytecode")
def test_stored_bytecode_is_read(module):
    assert lazy.read_bytecode(module[1].origin, module[1].cached)


def test_bytecode_of_another_source_is_not_used(module):
    path, spec = module
    path.write_text("VALUE = 10\n")
    assert lazy.read_bytecode(spec.origin, spec.cached) is None


def test_bytecode_longer_than_what_is_read_is_not_used(module, monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BYTECODE_SIZE", 100)
    path, spec = module
    assert lazy.read_bytecode(str(path), spec.cached) is None


def test_bytecode_of_moved_files_is_not_used(module, tmp_path):
    """Its tracebacks would name the old path."""
    path, spec = module
    moved = path.rename(tmp_path / "moved.py")
    assert lazy.read_bytecode(str(moved), spec.cached) is None


def test_bytecode_that_is_missing_is_made():
    for option in ("-B", "-O", "-OO"):
        assert run("import uring_loop; print(uring_loop.open.__name__)",
                   "-X", "pycache_prefix=/dev/null/none", option) == ["open"]


def test_where_python_stores_no_bytecode_each_module_is_compiled_when_it_is_used():
    """From its source in memory: no file is opened then."""
    assert run("""
import sys
compiled, opened = [], []
def note(event, args):
    if event == "compile" and args[1] is not None:
        compiled.append(str(args[1]))
    elif event == "open":
        opened.append(args[0])
sys.addaudithook(note)
import uring_loop
uring_loop.new_event_loop().close()
module = sys.modules["uring_loop.files.textfile"]
print(module.__file__ in compiled)
opened.clear()
module.TextFile
print(module.__file__ in compiled, opened)
""", "-B", "-X", "pycache_prefix=/dev/null/none") == ["False", "True []"]


def test_modules_in_an_archive_are_found(tmp_path):
    """Also those of the stdlib: programs are shipped in this way."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("queue", "stringprep"):
            archive.write(sys.modules[name].__file__, f"{name}.py")
    code = """
import os, sys, threading
sys.path.insert(0, {archive!r})
threading.__file__ = "/nowhere/threading.py"
import uring_loop, queue, stringprep
uring_loop.new_event_loop().close()
for module in (queue, stringprep):
    print(module.__file__, module.__name__, len(dir(module)) > 15)
"""
    archive = str(tmp_path / "all.zip")
    assert run(code.format(archive=archive)) == [
        f"{archive}/queue.py queue True", f"{archive}/stringprep.py stringprep True"]


def test_a_second_thread_waits_until_a_module_has_run():
    """Half of its names are there while the first thread runs it."""
    module = types.ModuleType("uring_loop_half")
    code = compile("first = 1; begun.set(); ending.wait(patience); second = 2",
                   "half", "exec")
    begun, ending, over = (threading.Event() for _ in range(3))
    vars(module).update(begun=begun, ending=ending, patience=PATIENCE_SECONDS)
    seen = []

    def use():
        begun.wait(PATIENCE_SECONDS)
        seen.append((module.first, vars(module).get("second")))
        over.set()

    module.__class__ = lazy.LazyModule
    lazy._waiting[module.__name__] = lambda: code
    threads = [threading.Thread(target=lambda: module.second),
               threading.Thread(target=use)]
    for thread in threads:
        thread.start()
    # The thread that does not wait is over at once; the one that waits never is.
    over.wait(0.2)
    ending.set()
    for thread in threads:
        thread.join()
    assert seen == [(1, 2)] and type(module) is types.ModuleType
