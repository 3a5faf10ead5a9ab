"""What docs/systemd.md says of systemd's sets of system calls."""

import pathlib
import shutil
import subprocess

import pytest

from tests.slowness import PATIENCE_SECONDS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "systemd.md"
IO_URING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}


def calls(name):
    """Names in a set, those of the sets that it includes as well."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], text=True,
                           check=True, capture_output=True,
                           timeout=PATIENCE_SECONDS).stdout
    found = {line.strip() for line in shown.splitlines() if line.startswith("    ")}
    return found | {call for inner in found if inner.startswith("@")
                    for call in calls(inner)}


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name, allowed", [
    ("@aio", True), ("@system-service", True), ("@io-event", False)])
def test_which_sets_have_the_calls_of_io_uring(name, allowed):
    assert f"`{name}`" in PAGE.read_text("utf-8")
    assert (IO_URING <= calls(name)) is allowed
    assert allowed or IO_URING.isdisjoint(calls(name))
