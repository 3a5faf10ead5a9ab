"""Start, talk to, and surely end the processes of a run."""

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

ROOT = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1
ERROR_CHARACTERS = 600

# The checkout comes last on sys.path: an installed uring_loop must win over the
# source folder beside this one, which has no compiled modules.
BOOTSTRAP = (f"import sys; sys.path.append({str(ROOT)!r}); "
             "from benchmarks.child import main; main()")

_libc = ctypes.CDLL(None, use_errno=True)


class BenchmarkError(Exception):
    """Something in a scenario went wrong; the message is for the person."""


def pin_and_tie(cores):
    """A preexec_fn: run on these cores, never outlive the runner, open many files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def prepare():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, cores)
    return prepare


class Child:
    """A process that answers each line on stdin with one JSON line on stdout."""

    # Without an answer for so long it hangs.
    patience_seconds = 30.0

    def __init__(self, arguments, cores, scratch, environment=None):
        self._errors = open(scratch.file("stderr"), "w+", errors="replace")
        self._buffer = b""
        # Its own session: Ctrl-C reaches the runner alone, which ends the others.
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, start_new_session=True, cwd=scratch.path,
            preexec_fn=pin_and_tie(cores),
            env={**os.environ, **(environment or {})})
        self.pid = self.process.pid

    def ask(self, line):
        try:
            os.write(self.process.stdin.fileno(), line.encode() + b"\n")
        except BrokenPipeError:
            raise BenchmarkError(f"process ended: {self.last_words()}") from None
        return self.answer()

    def answer(self):
        """The next JSON line; an "error" in it is raised."""
        deadline = time.monotonic() + self.patience_seconds
        stdout = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([stdout], [], [], left)[0]:
                raise BenchmarkError(
                    f"no answer within {self.patience_seconds:g} s")
            data = os.read(stdout, 65536)
            if not data:
                raise BenchmarkError(f"process ended: {self.last_words()}")
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

    def last_words(self):
        """What a process that has ended, or is about to, left on stderr."""
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
    """A process of this Python that carries out `order`; see child.py.

    It may keep compiled modules, whatever the environment says: each start would
    compile the sources of every loop again, and startup would measure that.
    """
    return Child([sys.executable, "-P", "-c", BOOTSTRAP, json.dumps(order)],
                 cores, scratch, {"PYTHONDONTWRITEBYTECODE": ""})


@contextlib.contextmanager
def stopping(child):
    """`with` for a Child: it is gone afterwards, whatever happened."""
    try:
        yield child
    finally:
        child.stop()
