"""The comparison of threads: each body works in two threads, and on every loop here."""

import subprocess
import sys
import tempfile

import pytest

from benchmarks.measure import programs
from benchmarks.measure.processes import ROOT, Scratch, module_command
from benchmarks.scaling import command
from benchmarks.scaling.worker import BODIES, Slice
from benchmarks.scenarios import loops

PLAIN = [body for body in BODIES if body != "tls"]


def slice_of(name, body, *arguments):
    order = {"loop": name, "body": body, "arguments": arguments}
    return Slice(order, 2, 0.01).run()


@pytest.mark.parametrize("name", ["asyncio", loops.EPOLL])
@pytest.mark.parametrize("body", PLAIN)
def test_two_threads_work_at_a_body(no_leaks, name, body):
    answer = slice_of(name, body)
    assert answer["rate"] > 0 and answer["pss_kib"] > 0


@pytest.mark.parametrize("name", ["asyncio", loops.EPOLL])
def test_two_threads_work_over_tls(no_leaks, name):
    with tempfile.TemporaryDirectory() as folder:
        assert slice_of(name, "tls", programs.certificate(Scratch(folder)))["rate"] > 0


def test_an_error_in_one_thread_ends_both(no_leaks):
    with pytest.raises(FileNotFoundError):
        slice_of("asyncio", "tls", "/no/such/certificate")


def test_both_tables():
    """One with threads, one with processes of the same Python."""
    arguments = ["--loops", f"asyncio,{loops.EPOLL}", "--bodies", "tasks",
                 "--rounds", "1", "--slice", "0.01"]
    for more in ([], ["--processes", sys.executable]):
        done = subprocess.run(
            module_command("benchmarks.threads", *arguments, *more), cwd=ROOT,
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "|  | asyncio | ours, epoll |"
        assert len(lines) == 3 and lines[2].startswith("| tasks | ")


def test_cells():
    assert command.cell_of_threads([(100, 190), (100, 210), (100, 20)]) == "190 (1.90)"
    sides = [({"rate": 12345, "pss_kib": 2048}, {"rate": 9999, "pss_kib": 4096})]
    assert command.cell_of_processes(sides) == "12,300, 2.0 MiB : 10,000, 4.0 MiB"
