"""Run one file of CPython's asyncio tests in a child process and judge the outcome."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time

from . import allowlist
from .files import FILE_LIMIT_SECONDS, HANG_LIMIT_SECONDS, TEST_LIMIT_SECONDS

CHILD = pathlib.Path(__file__).with_name("child.py")
VERSION = "{}.{}{}".format(
    *sys.version_info[:2], "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
# A crash or a hang ends the child; the tests after it still have to be run.
RESTARTS_MAX = 5
TAIL_LINES = 25


@dataclasses.dataclass
class Outcome:
    kind: str  # passed, failed, skipped, died
    detail: str = ""
    seconds: float = 0.0


@dataclasses.dataclass
class FileResult:
    file: str
    loop: str
    backend: str
    tests: dict = dataclasses.field(default_factory=dict)
    broken: list = dataclasses.field(default_factory=list)
    loops_made: int = 0
    seconds: float = 0.0
    pattern: str = "*"

    def ids(self, *kinds):
        return [i for i, o in self.tests.items() if o.kind in kinds]


def run_file(file, loop="uring_loop", backend="io_uring", pattern="*"):
    """Run the tests of one file that match the pattern; never raises for a test."""
    result = FileResult(file, loop, backend, pattern=pattern)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ulst-") as folder:
        for attempt in range(1 + RESTARTS_MAX):
            ended = run_child(result, pathlib.Path(folder), attempt)
            if ended or result.broken:
                break
        else:
            result.broken.append(f"the process died {1 + RESTARTS_MAX} times")
    result.seconds = time.monotonic() - start
    return result


def run_child(result, folder, attempt):
    """One process. Return True when it came to the end of the file."""
    report = folder / f"report{attempt}"
    work = folder / f"w{attempt}"
    work.mkdir()
    command = [sys.executable, "-X", "faulthandler", str(CHILD)]
    command += ["--loop", result.loop]
    command += ["--report", str(report), "-k", result.pattern]
    command += ["--test-limit", str(TEST_LIMIT_SECONDS)]
    command += ["--hang-limit", str(HANG_LIMIT_SECONDS)]
    for entry in covering(result):
        command += ["--hangs", entry.test] if entry.hangs else []
    for test_id in result.tests:
        command += ["--skip", test_id]
    output, status = run_bounded([*command, result.file], work, environment(result))
    lines = report.read_text("utf-8").splitlines() if report.exists() else []
    return take_report(result, [json.loads(line) for line in lines], output, status)


def environment(result):
    """The child's environment: nothing of ours that a stdlib test could notice."""
    unwanted = {"PYTHONSAFEPATH", "PYTHONASYNCIODEBUG", "PYTHONWARNINGS", "PYTHONPATH"}
    kept = {k: v for k, v in os.environ.items() if k not in unwanted}
    return {**kept, "URING_LOOP_BACKEND": result.backend}


def run_bounded(command, folder, env):
    """Return (output, status); the whole process group is gone afterwards."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**env, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        errors="replace",
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=FILE_LIMIT_SECONDS)
        return output, f"exit status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return output, f"killed after {FILE_LIMIT_SECONDS} s"


def take_report(result, lines, output, status):
    running = None
    ended = False
    for line in lines:
        if line["kind"] == "loop":
            check_backend(result, line["backend"])
        elif line["kind"] == "start":
            running = line["test"]
        elif line["kind"] == "stop":
            running = None
            result.loops_made += line["loops"]
            result.tests[line["test"]] = Outcome(
                line["outcome"], line["detail"], line["seconds"]
            )
        elif line["kind"] == "end":
            ended = True
    if ended:
        return True
    detail = f"{status}\n{tail(output, 60)}"
    if running is None:
        result.broken.append(f"the process ended outside a test: {detail}")
    else:
        result.tests[running] = Outcome("died", detail)
    return False


def check_backend(result, backend):
    if result.loop == "uring_loop" and backend != result.backend:
        result.broken.append(f"asked for {result.backend}, got {backend or 'none'}")


def tail(text, count=TAIL_LINES):
    lines = text.rstrip().splitlines()
    return "\n".join((["…"] if len(lines) > count else []) + lines[-count:])


def covering(result):
    """The entries of the allow-list that speak of this run."""
    if result.loop != "uring_loop":
        return []
    entries = allowlist.load()
    return [e for e in entries if e.covers(result.file, VERSION, result.backend)]


def problems(result, entries=None):
    """Everything that makes this run a failure, as text for a person."""
    entries = covering(result) if entries is None else entries
    failed = result.ids("failed", "died")
    unexpected, unneeded = allowlist.judge(entries, failed)
    found = list(result.broken)
    if not result.ids("passed", "failed", "died"):
        found.append("no test ran")
    if not result.loops_made and not result.broken:
        found.append(f"no test made a loop: is {result.loop} put in?")
    for test_id in unexpected:
        outcome = result.tests[test_id]
        found.append(f"{outcome.kind}: {test_id}\n{tail(outcome.detail)}")
    if result.pattern == "*" and not result.broken:
        found += [f"allow-list entry not needed: {entry.test}" for entry in unneeded]
    return found
