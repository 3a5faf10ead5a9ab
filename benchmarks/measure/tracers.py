"""Attach perf or strace to a process while a load runs."""

import contextlib
import os
import signal
import subprocess
import time

from benchmarks.measure.processes import BenchmarkError, is_readable, pin_and_tie

TOOL_SECONDS = 10.0


def start(arguments, cores, **options):
    return subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=pin_and_tie(cores), **options)


def with_perf(arguments, cores, load):
    """Run `load()` while `perf` with these arguments is enabled; answers its result."""
    with _control_pipes() as (control, acknowledge, own_end, answer_end):
        command, *others = arguments
        tool = start(["perf", command, "-D", "-1", "--control",
                      f"fd:{control},{acknowledge}", *others], cores,
                     pass_fds=(control, acknowledge))
        with ending(tool):
            _switch(own_end, answer_end, b"enable\n")
            answer = load()
            _switch(own_end, answer_end, b"disable\n")
    return answer


def _switch(own_end, answer_end, command):
    os.write(own_end, command)
    wait_for(answer_end, b"ack", "perf")


@contextlib.contextmanager
def _control_pipes():
    control, own_end = os.pipe()
    answer_end, acknowledge = os.pipe()
    try:
        yield control, acknowledge, own_end, answer_end
    finally:
        for fd in (control, own_end, answer_end, acknowledge):
            os.close(fd)


@contextlib.contextmanager
def ending(tool):
    """Interrupt the tool at the end: perf and strace write their summary then."""
    try:
        yield
        tool.send_signal(signal.SIGINT)
        tool.wait(TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{tool.args[0]} did not stop") from None
    finally:
        tool.kill()
        tool.wait()
        tool.stderr.close()


def wait_for(fd, word, tool):
    deadline = time.monotonic() + TOOL_SECONDS
    seen = b""
    while word not in seen:
        left = deadline - time.monotonic()
        if left <= 0 or not is_readable(fd, left):
            raise BenchmarkError(f"{tool} did not attach within {TOOL_SECONDS:.0f} s")
        data = os.read(fd, 4096)
        if not data:
            raise BenchmarkError(f"{tool}: {seen.decode(errors='replace').strip()}")
        seen += data
