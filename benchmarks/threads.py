"""Command `python -m benchmarks.threads`: what a second thread brings with no GIL."""

import sys

from benchmarks.scaling.command import main

if __name__ == "__main__":
    sys.exit(main())
