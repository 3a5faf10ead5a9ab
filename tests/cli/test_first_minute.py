"""What a new user types first works, or says in a line what to type instead."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import uring_loop

from tests.slowness import PATIENCE_SECONDS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = PATIENCE_SECONDS
README_SNIPPET = (ROOT / "README.md").read_text("utf-8").split("```python\n")[1]
README_SNIPPET = README_SNIPPET.split("```")[0]


def python(source, folder, *options, **environment):
    variables = os.environ | environment
    # Set for the tests; a user does not have it.
    variables.pop("PYTHONSAFEPATH", None)
    return subprocess.run([sys.executable, *options, "-c", source], cwd=folder,
                          env=variables, text=True, capture_output=True,
                          timeout=SECONDS)


@pytest.fixture
def unbuilt_clone(tmp_path):
    """The Python files of the package beside a setup.py, without compiled modules."""
    package = pathlib.Path(uring_loop.__file__).parent
    shutil.copytree(package, tmp_path / "clone" / "uring_loop",
                    ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    (tmp_path / "clone" / "setup.py").write_text("")
    return tmp_path / "clone"


def test_the_readmes_first_program_runs_beside_the_clone(unbuilt_clone):
    ended = python(README_SNIPPET, unbuilt_clone.parent, URING_LOOP_BACKEND="epoll")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("<Loop backend=epoll running=True ")


def test_in_a_clone_that_is_not_built_the_error_names_the_cure(unbuilt_clone):
    ended = python(README_SNIPPET, unbuilt_clone)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: uring_loop is imported from its source folder")
    assert f"python -m pip install -e {unbuilt_clone}" in last


def test_in_a_clone_built_in_place_it_runs(unbuilt_clone):
    package = pathlib.Path(uring_loop.__file__).parent
    for compiled in package.glob("*.so"):
        os.symlink(compiled, unbuilt_clone / "uring_loop" / compiled.name)
    ended = python(README_SNIPPET, unbuilt_clone, URING_LOOP_BACKEND="epoll")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("<Loop backend=epoll running=True ")


def test_an_installation_for_another_python_names_the_cure(unbuilt_clone):
    os.remove(unbuilt_clone / "setup.py")
    ended = python(README_SNIPPET, unbuilt_clone)
    assert "install uring_loop with this Python's pip" in ended.stderr


UNAWAITED = """
import asyncio, uring_loop
async def main(): pass
try:
    uring_loop.run(main(){arguments})
except Exception as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize("arguments, environment, error, said", [
    (", loop_factory=asyncio.new_event_loop", "auto", "TypeError", "loop_factory"),
    (", backend='bogus'", "auto", "ValueError", "bogus"),
    (", unknown=1", "auto", "TypeError", "unknown"),
    ("", "bogus", "ValueError", "URING_LOOP_BACKEND"),
])
def test_run_that_cannot_start_says_only_why(arguments, environment, error, said):
    ended = python(UNAWAITED.format(arguments=arguments), "/", "-W", "always",
                   URING_LOOP_BACKEND=environment)
    assert ended.stderr == ""
    assert ended.stdout.startswith(error) and said in ended.stdout
