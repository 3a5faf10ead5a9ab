"""Run a piece of Python in a process of its own: for what would harm the tests.

The child gets the name of the loop under test in PARITY_LOOPS and makes its loop by
`new_loop`, so that one piece serves every backend. PATIENCE_SECONDS is there as well.
"""

import os
import subprocess
import sys
import textwrap

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops

SECONDS = 2 * PATIENCE_SECONDS

PRELUDE = """\
import asyncio, os, signal, socket, sys
PATIENCE_SECONDS = {patience}
def new_loop():
    name = {name!r}
    if name == "stock":
        return asyncio.SelectorEventLoop()
    if name == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    import uring_loop
    return uring_loop.new_event_loop(backend=name)
"""


def start(code, loop_name="auto", **environment):
    """Start the child; the caller waits for it with `finish`."""
    if loop_name == "io_uring":
        loops.skip_where_io_uring_is_refused()
    prelude = PRELUDE.format(name=loop_name, patience=PATIENCE_SECONDS)
    program = prelude + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def finish(child):
    """What the child said, and how it ended; a hang is killed and shown."""
    try:
        out, err = child.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"the child hangs; it said {out!r} and {err!r}") from None
    return out.split(), err, child.returncode


def run(code, loop_name="auto", **environment):
    """The words of a child that must end well."""
    words, err, returncode = finish(start(code, loop_name, **environment))
    assert returncode == 0, f"exit {returncode}, said {words}, error:\n{err}"
    return words
