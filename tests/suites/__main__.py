"""Run other projects' suites: python -m tests.suites [name ...]."""

import argparse
import json
import pathlib
import platform
import sys
import time

from . import harness, judge, prepare, projects, report, servers

WORK = prepare.ROOT / "build" / "suites"


def main():
    known = projects.load()
    options = parse_arguments(known)
    if options.list:
        for project in known.values():
            print(f"{project.name:16} {project.version:10} {project.about}")
        return
    options.work.mkdir(parents=True, exist_ok=True)
    bad = 0
    for name in [] if options.page else options.names or known:
        try:
            bad += (run_again if options.again else run_project)(known[name], options)
        except (prepare.NotPrepared, servers.NoServer) as exc:
            print(f"{name}: not run: {exc}", flush=True)
            bad += 1
    if options.store or options.page:
        report.write()
    sys.exit(1 if bad else 0)


def parse_arguments(known):
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--loops", nargs="+", default=harness.LOOPS[1:],
                        choices=harness.LOOPS[1:], help="our backends to be run")
    parser.add_argument("--work", type=pathlib.Path, default=WORK,
                        help="where sources and venvs go (default: build/suites)")
    parser.add_argument("--store", action="store_true",
                        help="keep the results, and write the page of them")
    parser.add_argument("--page", action="store_true",
                        help="write the page of the results that are kept")
    parser.add_argument("--again", action="store_true",
                        help="only what is stored as failing on ours only")
    parser.add_argument("-v", action="store_true", help="why each test failed")
    return parser.parse_args()


def run_project(project, options):
    """Print and maybe store what was seen; return the number of unexplained tests."""
    folder, python = prepare.prepare(project, options.work)
    with servers.running(project.server) as (words, env):
        suite = harness.Suite(project, folder, python, words, env)
        stock = run_suite(suite, project, "asyncio", options)
        runs = [run_suite(suite, project, loop, options) for loop in options.loops]
        verdicts = [judge.compare(suite, stock, run) for run in runs]
    unexplained = 0
    for verdict in verdicts:
        for test, reason in verdict.ours.items():
            why = project.why(test)
            unexplained += not why
            print(f"  {verdict.loop}: {test}: {why or 'NOT EXPLAINED: ' + reason}")
        for test in verdict.unsteady:
            print(f"  {verdict.loop}: {test}: unsteady")
    if options.store and stock.ids("passed"):
        store(project, [stock, *runs], verdicts)
    return unexplained + sum(len(run.broken) for run in [stock, *runs])


def run_again(project, options):
    """After a change: run what differed, and store what does so no more."""
    results = json.loads(report.RESULTS.read_text("utf-8"))
    folder, python = prepare.prepare(project, options.work)
    with servers.running(project.server) as (words, env):
        suite = harness.Suite(project, folder, python, words, env)
        for loop, ours in results[project.name]["only_ours"].items():
            passed = suite.run(loop, sorted(ours)).ids("passed") if ours else set()
            counts = results[project.name]["counts"][loop]
            for test in passed & set(ours):
                del ours[test]
                counts["passed"] += 1
                counts["failed"] -= 1
            print(f"{project.name:16} {loop:9} {len(ours)} differ still", flush=True)
    if options.store:
        keep(results)
    return sum(not project.why(test) for test in report.tests_of(
        results[project.name]["only_ours"]))


def run_suite(suite, project, loop, options):
    start = time.monotonic()
    run = suite.run(loop)
    print(f"{project.name:16} {project.version:10} {loop:9} {judge.counts(run)} "
          f"{time.monotonic() - start:.0f} s", flush=True)
    for text in run.broken:
        print("  " + text.replace("\n", "\n    "), flush=True)
    if options.v:
        for test in sorted(run.ids(*judge.BAD)):
            print(f"  {test}\n    {judge.last_line(run.tests[test].reason)}")
    return run


def store(project, runs, verdicts):
    path = report.RESULTS
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    stock = runs[0]
    results[project.name] = {
        "version": project.version,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "counts": {run.loop: judge.counts(run) for run in runs},
        "also_on_asyncio": {
            test: judge.last_line(stock.tests[test].reason)
            for test in sorted(stock.ids(*judge.BAD))
        },
        "only_ours": {verdict.loop: verdict.ours for verdict in verdicts},
        "unsteady": {verdict.loop: verdict.unsteady for verdict in verdicts},
    }
    keep(results)


def keep(results):
    text = json.dumps(dict(sorted(results.items())), indent=1)
    report.RESULTS.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
