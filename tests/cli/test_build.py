"""A build that cannot work says what to install; the sdist's C files need no Cython."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.slowness import PATIENCE_SECONDS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 2 * PATIENCE_SECONDS


@pytest.fixture
def sources(tmp_path):
    """What setup.py reads, with empty C files in place of those that Cython makes, and
    a Cython that is not there."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "uring_loop", tmp_path / "uring_loop",
                    ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    shutil.copy(ROOT / "uring_loop" / "native.c", tmp_path / "uring_loop")
    for source in tmp_path.glob("uring_loop/*/*.pyx"):
        source.with_suffix(".c").write_text("")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "Cython.py").write_text("raise ImportError('hidden')")
    return tmp_path


def build(sources, **environment):
    ended = subprocess.run(
        [sys.executable, "setup.py", "build_ext"], cwd=sources, text=True,
        capture_output=True, timeout=SECONDS,
        env=os.environ | {"PYTHONPATH": str(sources / "hidden")} | environment)
    return ended.returncode, ended.stderr.strip().splitlines()[-1:]


def test_without_a_compiler_it_names_the_packages(sources):
    status, (said,) = build(sources, CC="no-such-compiler")
    assert status == 1
    assert "a C compiler must be installed" in said
    assert "apt install build-essential" in said and "dnf install gcc" in said


def test_without_headers_it_names_the_packages(sources):
    (sources / "hidden" / "sitecustomize.py").write_text("""
import sysconfig
get_path = sysconfig.get_path
sysconfig.get_path = lambda name, *args, **given: (
    "/nowhere" if name == "include" else get_path(name, *args, **given))
""")
    status, (said,) = build(sources)
    assert status == 1
    assert "Python's headers (/nowhere/Python.h)" in said
    assert "apt install python%d.%d-dev" % sys.version_info[:2] in said


def test_without_c_files_and_cython_it_names_cython(sources):
    os.remove(sources / "uring_loop" / "driver" / "ring.c")
    status, (said,) = build(sources)
    assert status == 1
    assert "pip install 'Cython" in said


def test_with_the_c_files_it_compiles_without_cython(sources):
    """Empty files make an object without their modules: nothing but the compiler
    ran."""
    compiled = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"], cwd=sources, text=True,
        capture_output=True, timeout=SECONDS,
        env=os.environ | {"PYTHONPATH": str(sources / "hidden")})
    assert compiled.returncode == 0, compiled.stderr
    assert list(sources.glob("build/lib*/uring_loop/_native*.so"))


def test_metadata_readme_and_wheels_name_the_same_pythons():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    prefix = "Programming Language :: Python :: 3."
    minors = [int(name.removeprefix(prefix)) for name in
              settings["project"]["classifiers"] if name.startswith(prefix)]
    first, last = min(minors), max(minors)
    assert minors == list(range(first, last + 1))
    assert settings["project"]["requires-python"] == f">=3.{first},<3.{last + 1}"
    assert f"CPython 3.{first} to 3.{last}" in (ROOT / "README.md").read_text("utf-8")
    wheels = settings["tool"]["cibuildwheel"]["build"].split()
    assert {f"cp3{minor}-*" for minor in minors} <= set(wheels)
