"""Start the processes of a run, talk to them, and end them."""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
ERROR_CHARACTERS = 600

# The checkout comes last on sys.path: an installed uring_loop must win over the
# source folder beside this one, which has no compiled modules.
BOOTSTRAP = (f"import sys; sys.path.append({str(ROOT)!r}); "
             "from benchmarks.scenarios.worker import main; main()")

_libc = ctypes.CDLL(None, use_errno=True)


def module_command(name, *arguments):
    """python -m name, with the checkout last on sys.path as well."""
    code = (f"import runpy, sys; sys.path.append({str(ROOT)!r}); "
            f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)")
    return [sys.executable, "-P", "-c", code, *arguments]


class BenchmarkError(Exception):
    """A failure in a scenario; the message is shown to the user."""


def pin_and_tie(cores):
    """A preexec_fn: run on these cores, end with this process, open many files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def prepare():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, cores)
    return prepare


def is_readable(fd, seconds):
    """Wait for a descriptor. select() takes none above 1023, and idle connections may
    have all those."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


class Child:
    """A process that answers each line on stdin with one JSON line on stdout."""

    # A process without an answer for this time counts as hanging.
    patience_seconds = 30.0

    def __init__(self, arguments, cores, scratch, environment=None):
        self._errors = open(scratch.file("stderr"), "w+", errors="replace")
        self._buffer = b""
        # Its own session: Ctrl-C reaches this process alone, which ends the others.
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, start_new_session=True, cwd=scratch.path,
            preexec_fn=pin_and_tie(cores),
            env={**os.environ, **(environment or {})})
        self.pid = self.process.pid

    def ask(self, line):
        self.send(line)
        return self.answer()

    def send(self, line):
        try:
            os.write(self.process.stdin.fileno(), line.encode() + b"\n")
        except BrokenPipeError:
            raise BenchmarkError(f"process ended: {self.error_output()}") from None

    def answer(self):
        """Read the next JSON line; raise its "error", if it has one."""
        deadline = time.monotonic() + self.patience_seconds
        stdout = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not is_readable(stdout, left):
                raise BenchmarkError(
                    f"no answer within {self.patience_seconds:g} s")
            data = os.read(stdout, 65536)
            if not data:
                raise BenchmarkError(f"process ended: {self.error_output()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(answer["error"])
        return answer

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()

    def error_output(self):
        """Wait for the end of the process; answers the tail of its stderr."""
        self.process.wait()
        self._errors.flush()
        self._errors.seek(0)
        words = self._errors.read().strip()[-ERROR_CHARACTERS:]
        return words or f"exit status {self.process.returncode}"


class Scratch:
    """A temporary folder that hands out unused file names."""

    def __init__(self, path):
        self.path = path
        self._count = 0

    def file(self, name):
        self._count += 1
        return os.path.join(self.path, f"{self._count}-{name}")


def python_child(order, cores, scratch):
    """A process of this Python that carries out `order`; see scenarios/worker.py.

    It may keep compiled modules, whatever the environment says: each start would
    compile the sources of every loop again, and startup would measure that.
    """
    return Child([sys.executable, "-P", "-c", BOOTSTRAP, json.dumps(order)],
                 cores, scratch, {"PYTHONDONTWRITEBYTECODE": ""})


@contextlib.contextmanager
def stopping(child):
    """Context of a Child, which is stopped at the end in any case."""
    try:
        yield child
    finally:
        child.stop()
