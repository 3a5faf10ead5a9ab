"""Runs `python -m uring_loop`: see uring_loop/cli/command.py for its commands."""

import sys

from uring_loop.cli.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
