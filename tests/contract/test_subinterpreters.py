"""A sub-interpreter gets one clear ImportError, and harms no loop of the main one."""

import sys

import pytest

from .test_imports import run

# Runs in the sub-interpreter.
TRY = """
import os
for _ in range(2):
    try:
        import uring_loop
        said = "imported"
    except ImportError as exc:
        said = str(exc)
    os.write(1, f"{said}\\n".encode())
"""
IN_A_SUBINTERPRETER = f"""
import asyncio, sys
if sys.version_info >= (3, 14):
    from concurrent import interpreters
    interpreter = interpreters.create()
    interpreter.exec({TRY!r})
    interpreter.close()
else:
    if sys.version_info >= (3, 13):
        import _interpreters
        begin = _interpreters.exec
    else:
        import _xxsubinterpreters as _interpreters
        begin = _interpreters.run_string
    interpreter = _interpreters.create()
    assert begin(interpreter, {TRY!r}) is None
    _interpreters.destroy(interpreter)
"""
RUN = "print(uring_loop.run(asyncio.sleep(0, 'the main interpreter runs')))"


def check(lines):
    *refused, last = lines
    assert len(refused) == 2
    for line in refused:
        assert line.startswith("uring_loop can be used in one interpreter")
        assert "IOThread" in line
    assert last == "the main interpreter runs"


def test_it_is_refused_while_the_main_interpreter_has_it():
    check(run("import uring_loop" + IN_A_SUBINTERPRETER + RUN))


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="3.11 lets the first interpreter have a module")
def test_it_is_refused_before_the_main_interpreter_imports_it():
    check(run(IN_A_SUBINTERPRETER + "import uring_loop\n" + RUN))
