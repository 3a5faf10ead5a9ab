"""Command `python -m benchmarks`: compare this loop with others in one run."""

import sys

from benchmarks.compare.entry import main

if __name__ == "__main__":
    sys.exit(main())
