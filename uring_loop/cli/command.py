"""Chooses the command of `python -m uring_loop` from its first argument."""

import importlib

USAGE = """\
usage: python -m uring_loop [command] [options]

commands:
  doctor   (default) which driver loops use here and why, limits, and a self-test
  run      start a Python program whose asyncio loops are all uring_loop's
  bench    compare asyncio, uvloop (if installed) and both drivers; 15 seconds

python -m uring_loop COMMAND --help tells more."""

COMMANDS = ("doctor", "run", "bench")


def main(arguments):
    """Run a command; returns the exit status."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    name, rest = "doctor", arguments
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
    if name not in COMMANDS:
        print(f"{USAGE}\n\nunknown command: {name}")
        return 2
    # Only the chosen command: `run` does not need what the others import.
    return importlib.import_module(f"uring_loop.cli.{name}").main(rest)
