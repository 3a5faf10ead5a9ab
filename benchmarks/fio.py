"""Command `python -m benchmarks.fio`: compare file I/O with fio and other libraries."""

import sys

from benchmarks.files.command import main

if __name__ == "__main__":
    sys.exit(main())
