"""Command `python -m benchmarks.regress`: compare counts with a reference."""

import sys

from benchmarks.judge.regressions import main

if __name__ == "__main__":
    sys.exit(main())
