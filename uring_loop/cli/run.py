"""Starts a Python program in which every asyncio loop is a Loop of uring_loop.

The program is started by Python itself, by exec, so that arguments, `__main__`,
tracebacks and exit status are Python's own. What it needs to know is in the
environment, which its child processes inherit. Python has one hook that an environment
variable reaches: the module sitecustomize on PYTHONPATH. The one in the folder
`startup` hands on to the environment's own.
"""

import importlib.machinery
import os
import pathlib
import sys

from uring_loop.driver import backend

USAGE = """\
usage: python -m uring_loop run [--driver auto|io_uring|epoll] ARGUMENTS
       python -m uring_loop run [--driver …] --threads N MODULE:FUNCTION ARGUMENTS

Starts `python ARGUMENTS`, such as `-m module …`, `script.py …` or `-c code …`, with
uring_loop's loops in place of asyncio's, in its child processes as well.
docs/run.md says what this cannot reach. With --threads, N threads with a loop each call
the coroutine function, which for a server listens with reuse_port=True."""

STARTUP = str(pathlib.Path(__file__).with_name("startup"))
# Its value is the suffix of extension modules of this Python: another one, which a
# program may start as a child, cannot load our compiled modules.
VARIABLE = "URING_LOOP_RUN"
# Options of Python that take a value, and those that keep it from our hook.
WITH_VALUE, ENDING, WITHOUT_HOOK = "WX", "cm", "IES"


def main(arguments):
    """Becomes the program; returns an exit status only if it cannot."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    try:
        driver, count, program = split(arguments)
        options = own_options(len(arguments))
        refuse_hookless([*options, *program])
        if count is not None:
            program = in_threads(count, program)
    except ValueError as exc:
        print(f"{USAGE}\n\n{exc}", file=sys.stderr)
        return 2
    python = sys.executable
    sys.stdout.flush()
    os.execve(python, [python, *options, *program], environment(driver))


def split(arguments):
    """(driver or None, number of threads or None, the rest); ValueError if they are no
    such thing."""
    given, rest = {"--driver": None, "--threads": None}, list(arguments)
    while rest and (name := rest[0].split("=")[0]) in given:
        _, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"{name} needs a value")
            value = rest.pop(0)
        given[name] = value
    driver, count = given.values()
    if driver not in (None, *backend.BACKENDS):
        raise ValueError(
            f"--driver must be one of {', '.join(backend.BACKENDS)}, not {driver!r}")
    if count is not None and not (count.isdecimal() and int(count)):
        raise ValueError(f"--threads must be a number of threads, not {count!r}")
    if not rest:
        raise ValueError("name a program")
    return driver, count, rest


def in_threads(count, program):
    """Python's arguments for a coroutine function in several threads."""
    module, colon, function = program[0].partition(":")
    if not (module and colon and function):
        raise ValueError(f"--threads needs MODULE:FUNCTION, not {program[0]!r}")
    return ["-m", "uring_loop.cli.in_threads", count, *program]


def own_options(count):
    """Options that Python itself has been given before `-m uring_loop run`."""
    before = sys.orig_argv[1:len(sys.orig_argv) - count - 1]
    return before[:before.index("-m")] if "-m" in before else []


def refuse_hookless(arguments):
    """Raise ValueError if Python is told to ignore the environment or `site`."""
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("-") or argument.startswith("--"):
            break
        for place, letter in enumerate(argument[1:], 2):
            if letter in ENDING:
                return
            if letter in WITHOUT_HOOK:
                raise ValueError(
                    f"with -{letter} Python ignores what puts our loops in")
            if letter in WITH_VALUE:
                if place == len(argument):
                    next(remaining, None)
                break


def environment(driver):
    variables = dict(os.environ)
    if driver is not None:
        variables[backend.VARIABLE] = driver
    folders = [STARTUP]
    if variables.get("PYTHONPATH"):
        folders += [folder for folder in variables["PYTHONPATH"].split(os.pathsep)
                    if folder != STARTUP]
    variables["PYTHONPATH"] = os.pathsep.join(folders)
    variables[VARIABLE] = importlib.machinery.EXTENSION_SUFFIXES[0]
    return variables
