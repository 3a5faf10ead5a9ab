"""Samples are booked on the kernel, Python, the loop or something else."""

import pytest

from benchmarks.measure import sampling

REPORT = """\
# Overhead,Shared Object
 50.25% ,libpython3.13.so.1.0
 20.00% ,_loop.cpython-313-x86_64-linux-gnu.so
 10.00% ,[kernel.kallsyms]
  5.00% ,_asyncio.cpython-313-x86_64-linux-gnu.so
  4.00% ,_ring.cpython-313-x86_64-linux-gnu.so
  3.00% ,libc.so.6
  2.00% ,python3.11
"""
LOOP = {"_loop.cpython-313-x86_64-linux-gnu.so",
        "_ring.cpython-313-x86_64-linux-gnu.so"}


def test_every_line_goes_to_its_part():
    assert sampling.by_part(REPORT, LOOP) == {
        "kernel": pytest.approx(0.10), "python": pytest.approx(0.5725),
        "loop": pytest.approx(0.24), "other": pytest.approx(0.03)}


def test_compiled_modules_in_the_folders_of_a_package_are_the_loop(tmp_path):
    for folder, name in zip((tmp_path, tmp_path / "net"), sorted(LOOP)):
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
        (folder / "__init__.py").touch()
    assert sampling.compiled_files(tmp_path) == LOOP
