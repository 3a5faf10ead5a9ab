"""What a benchmark misses is told at its start, with the cure, and it goes on."""

import pathlib
import subprocess
import sys

import pytest

from benchmarks.compare import arguments, preflight, store
from benchmarks.files import cells, command, http
from benchmarks.files.contender import PEERS
from benchmarks.pages import output

ROOT = pathlib.Path(output.__file__).resolve().parents[2]


def hide(*modules):
    """The start of a program in which these modules cannot be imported."""
    return f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {str(ROOT)!r})
"""


@pytest.mark.parametrize("argument", ["--list", "--help"])
def test_list_and_help_need_no_package(argument):
    ended = subprocess.run(
        [sys.executable, "-P", "-c", hide("matplotlib", "rich", "uvloop") + f"""
import runpy
sys.argv = ["benchmarks", {argument!r}]
runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
"""], capture_output=True, text=True, timeout=40)
    assert ended.returncode == 0, ended.stderr
    assert "tcp-protocol" in ended.stdout or "--baseline" in ended.stdout


def without(monkeypatch, *modules):
    find_spec = preflight.programs.importlib.util.find_spec
    monkeypatch.setattr(
        preflight.programs.importlib.util, "find_spec",
        lambda name, *rest: None if name in modules else find_spec(name, *rest))


def test_without_matplotlib_the_page_is_written_and_no_chart(monkeypatch, tmp_path):
    said = []
    without(monkeypatch, "matplotlib")
    assert not preflight.charts(said.append)
    assert "pip install matplotlib" in said[0]
    records = store.load(arguments.RESULTS)
    assert output.write(records, {}, tmp_path) == [tmp_path / "performance.md"]


def test_peers_of_the_file_benchmark_that_are_missing_are_left_out(monkeypatch):
    said = []
    monkeypatch.setattr(command.programs, "need_module", only_uvloop)
    missing = command.missing_peers(said.append)
    assert missing == {*PEERS} - {"inline"}
    assert any("aiofiles is left out" in line and "pip install aiofiles" in line
               for line in said)
    assert not missing & {*cells.names_of("buffered", missing)}
    assert "inline" in cells.names_of("direct", missing)


def only_uvloop(name, distribution=None):
    if name != "uvloop":
        raise preflight.BenchmarkError(f"run: pip install {distribution or name}")


def test_http_beside_reads_goes_on_without_aiofiles(monkeypatch):
    monkeypatch.setattr(http, "one", lambda name, path, seconds: (1, 2, 3, 4, 5))
    assert list(http.run("path", 1, 1, {"aiofiles"})) == ["uring_loop"]


def test_processes_take_the_installed_package_from_a_clone_that_is_not_built(
        tmp_path):
    """The checkout's own folder comes last on sys.path."""
    ended = subprocess.run(
        cells.module_command("benchmarks.files.contender"), cwd=tmp_path,
        capture_output=True, text=True, timeout=40)
    # It has begun, and misses its arguments.
    assert "not enough values to unpack" in ended.stderr
    code = cells.module_command("x")[3]
    assert "sys.path.append" in code and cells.module_command("x")[1] == "-P"
