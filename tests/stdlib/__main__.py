"""Run CPython's asyncio tests by hand: python -m tests.stdlib [file ...]."""

import argparse
import collections
import os
import sys

from . import files, harness


def main():
    options = parse_arguments()
    if missing := files.package_missing():
        sys.exit(missing)
    jobs = chosen_jobs(options)
    if not jobs:
        sys.exit("no such file: " + " ".join(options.files))
    print(f"{'file':26} backend   passed failed skipped loops seconds")
    bad = sum([run(options, *job) for job in jobs])
    sys.exit(1 if bad else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.stdlib", description=__doc__)
    parser.add_argument("files", nargs="*", help="test_events ... (default: all)")
    parser.add_argument(
        "--loop", default="uring_loop", choices=("uring_loop", "asyncio", "uvloop")
    )
    parser.add_argument("--backend", choices=files.BACKENDS)
    parser.add_argument("-k", dest="pattern", help="text or pattern of test ids")
    parser.add_argument("-v", action="store_true", help="every test, slowest last")
    parser.add_argument("-a", action="store_true", help="apply no allow-list")
    return parser.parse_args()


def chosen_jobs(options):
    wanted = options.backend or os.environ.get("URING_LOOP_BACKEND", "auto")
    backends = files.BACKENDS if wanted == "auto" else (wanted,)
    if options.loop != "uring_loop":
        backends = ("io_uring",)  # it means nothing to them: one run is enough
    jobs = files.jobs(sys.version_info[:2], backends)
    return [job for job in jobs if not options.files or job[0] in options.files]


def run(options, file, backend):
    pattern = options.pattern or "*"
    if "*" not in pattern:
        pattern = f"*{pattern}*"
    result = harness.run_file(file, options.loop, backend, pattern)
    counts = collections.Counter(outcome.kind for outcome in result.tests.values())
    shown = backend if options.loop == "uring_loop" else options.loop
    print(
        f"{file:26} {shown:9} {counts['passed']:6} "
        f"{counts['failed'] + counts['died']:6} {counts['skipped']:7} "
        f"{result.loops_made:5} {result.seconds:7.1f}"
    )
    if options.v:
        by_time = sorted(result.tests.items(), key=lambda item: item[1].seconds)
        for test_id, outcome in by_time:
            print(f"  {outcome.seconds:7.2f} {outcome.kind:8} {test_id}")
    found = harness.problems(result, [] if options.a else None)
    for problem in found:
        print("  " + problem.replace("\n", "\n    "))
    sys.stdout.flush()
    return bool(found)


if __name__ == "__main__":
    main()
