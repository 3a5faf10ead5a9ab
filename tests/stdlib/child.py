"""Run one file of `test.test_asyncio` in this process and write down each outcome.

Started by the harness as a script, never imported. The report is one JSON object a
line, written as things happen, so that a crash or a hang still names its test.
"""

import argparse
import faulthandler
import fnmatch
import importlib
import json
import os
import sys
import threading
import time
import traceback
import unittest

PREFIX = "test.test_asyncio."


def main():
    options = parse_arguments()
    report = Report(options.report)
    import put_in

    # Only now is our own folder out of the way of the tests.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    loop, made = put_in.loop_class(options.loop)
    report.line(kind="loop", backend=backend_of(loop))
    made.clear()
    put_in.put_in(loop)
    put_in.put_in_test_loop(options.file, loop)
    module = importlib.import_module(PREFIX + options.file)
    put_in.put_in_base(module, loop)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = Recorder(report, options, made)
    sys.unraisablehook = result.unraisable
    threading.excepthook = result.thread_ended_by
    unittest.TestSuite(chosen(suite, options)).run(result)
    report.line(kind="end")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--test-limit", type=float, required=True)
    parser.add_argument("--hang-limit", type=float, required=True)
    parser.add_argument("--hangs", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("-k", dest="pattern", default="*")
    parser.add_argument("file")
    return parser.parse_args()


def backend_of(loop_class):
    loop = loop_class()
    try:
        return getattr(loop, "backend", "")
    finally:
        loop.close()


def short_id(test):
    return test.id().removeprefix(PREFIX)


def chosen(suite, options):
    """The tests of a suite, flat, without those that are not wanted."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from chosen(item, options)
        elif fnmatch.fnmatchcase(short_id(item), options.pattern):
            if not matches(short_id(item), options.skip):
                yield item


def matches(test_id, patterns):
    return any(fnmatch.fnmatchcase(test_id, pattern) for pattern in patterns)


class Report:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")

    def line(self, **facts):
        self.file.write(json.dumps(facts) + "\n")
        self.file.flush()


class Recorder(unittest.TestResult):
    """Writes when a test starts and how it ended; a hung test ends the process."""

    def __init__(self, report, options, made):
        super().__init__()
        self.report = report
        self.options = options
        self.made = made
        self.current = None
        self.outcome = self.detail = ""
        self.started = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.current = short_id(test)
        self.outcome, self.detail = "passed", ""
        self.report.line(kind="start", test=self.current)
        faulthandler.dump_traceback_later(self.limit(), exit=True)
        self.started = time.monotonic()

    def limit(self):
        if matches(self.current, self.options.hangs):
            return self.options.hang_limit
        return self.options.test_limit

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self.finish()

    def finish(self):
        if self.current is None:
            return
        self.report.line(
            kind="stop",
            test=self.current,
            outcome=self.outcome,
            detail=self.detail,
            seconds=round(time.monotonic() - self.started, 3),
            loops=len(self.made),
        )
        self.made.clear()
        self.current = None

    def failed(self, name, error):
        lines = "".join(traceback.format_exception(*error))
        if self.current is not None:
            self.outcome, self.detail = "failed", self.detail + lines
            return
        # Between tests: setUpClass, setUpModule, or what the collector found.
        self.report.line(
            kind="stop", test=name, outcome="failed", detail=lines, seconds=0, loops=0
        )

    def addError(self, test, err):
        super().addError(test, err)
        self.failed(str(test), err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed(str(test), err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.detail += f"{subtest._subDescription()}\n"
            self.failed(str(test), err)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome, self.detail = "failed", "unexpected success"

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.current is None:
            self.report.line(kind="skipped_group", test=str(test), reason=reason)
            return
        self.outcome, self.detail = "skipped", reason

    def unraisable(self, unraisable):
        """An exception that nobody can catch is a failure of the test it fell into."""
        error = unraisable.exc_value
        error.add_note(f"{unraisable.err_msg or 'ignored in'}: {unraisable.object!r}")
        self.failed("unraisable exception", (type(error), error, error.__traceback__))

    def thread_ended_by(self, info):
        if info.exc_type is not SystemExit:
            error = (info.exc_type, info.exc_value, info.exc_traceback)
            self.failed(f"thread {info.thread}", error)


if __name__ == "__main__":
    main()
