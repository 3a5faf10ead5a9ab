"""Runs one suite on one loop in child processes, and tells how each test ended."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile

from .prepare import ORIGINAL

INSIDE = pathlib.Path(__file__).with_name("inside")
STANDINS = pathlib.Path(__file__).with_name("standins")
LOOPS = ("asyncio", "io_uring", "epoll")
TEST_LIMIT_SECONDS = 60
SUITE_LIMIT_SECONDS = 1800
# A crash or a hang ends the child; the tests after it still have to be run.
RESTARTS_MAX = 5
# Another project's warnings on this Python are no business of this comparison.
OPTIONS = (
    *("-p", "suites_plugin", "-p", "no:cacheprovider", "-q", "-o", "addopts="),
    *("--timeout", str(TEST_LIMIT_SECONDS), "--continue-on-collection-errors"),
)
UNWANTED = {"PYTHONPATH", "PYTHONASYNCIODEBUG", "PYTHONWARNINGS", "PYTEST_ADDOPTS"}


@dataclasses.dataclass
class Outcome:
    kind: str  # passed, failed, skipped, died
    reason: str = ""


@dataclasses.dataclass
class Run:
    loop: str
    tests: dict = dataclasses.field(default_factory=dict)
    broken: list = dataclasses.field(default_factory=list)

    def ids(self, *kinds):
        return {i for i, outcome in self.tests.items() if outcome.kind in kinds}


class Suite:
    """A project made ready: where its tests are, and what they need to be run."""

    def __init__(self, project, folder, python, words, env):
        self.folder = folder
        self.python = python
        self.arguments = [text.format(**words) for text in project.tests]
        kept = {k: v for k, v in os.environ.items() if k not in UNWANTED}
        self.env = {**kept, **env}
        self.env["PATH"] = f"{python.parent}:{self.env['PATH']}"
        self.env["SUITES_QUIET"] = " ".join(project.quiet)
        self.paths = [str(INSIDE)]
        if project.standins:
            self.paths.append(str(STANDINS))
            self.env["SUITES_UVLOOP"] = str(folder / ORIGINAL)

    def run(self, loop, only=()):
        """Run all tests, or those named; never raises for what a test does."""
        run = Run(loop)
        with tempfile.TemporaryDirectory(prefix="suites-") as folder:
            for attempt in range(1 + RESTARTS_MAX):
                place = pathlib.Path(folder) / str(attempt)
                place.mkdir()
                if self.run_child(run, place, only):
                    return run
        run.broken.append(f"the process died {1 + RESTARTS_MAX} times")
        return run

    def run_child(self, run, place, only):
        """One process. Return True when it came to its end."""
        report, skip = place / "report", place / "skip"
        skip.write_text(json.dumps(sorted(run.tests)))
        env = {
            **self.env,
            "PYTHONPATH": ":".join(self.paths),
            "SUITES_LOOP": "asyncio" if run.loop == "asyncio" else "uring_loop",
            "SUITES_REPORT": str(report),
            "SUITES_SKIP": str(skip),
            "URING_LOOP_BACKEND": run.loop if run.loop != "asyncio" else "auto",
        }
        command = [str(self.python.with_name("pytest")), *OPTIONS]
        chosen = [*options_of(self.arguments), *only] if only else self.arguments
        output, status = run_bounded([*command, *chosen], self.folder, env)
        lines = report.read_text("utf-8").splitlines() if report.exists() else []
        return take_report(run, [json.loads(line) for line in lines], output, status)


def options_of(arguments):
    """The arguments without the leading folders and files."""
    first = next((i for i, a in enumerate(arguments) if a.startswith("-")), None)
    return [] if first is None else arguments[first:]


def run_bounded(command, folder, env):
    """Return (output, status); the whole process group is gone afterwards."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(SUITE_LIMIT_SECONDS)
            status = f"exit status {process.returncode}"
        except subprocess.TimeoutExpired:
            status = f"killed after {SUITE_LIMIT_SECONDS} s"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it left nothing behind
        process.wait()
        output.seek(0)
        return output.read(), status


def take_report(run, lines, output, status):
    running = None
    for line in lines:
        if line["kind"] == "loop" and line["backend"] != run.loop:
            run.broken.append(f"asked for {run.loop}, got {line['backend']}")
        elif line["kind"] == "start":
            running = line["test"]
        elif line["kind"] == "stop":
            running = None
            run.tests[line["test"]] = Outcome(line["outcome"], line["reason"])
        elif line["kind"] == "broken":
            run.broken.append(line["reason"])
        elif line["kind"] == "end":
            return True
    if running is None:
        run.broken.append(f"ended outside a test: {status}\n{output[-3000:]}")
        return True
    run.tests[running] = Outcome("died", f"{status}\n{output[-3000:]}")
    return False
