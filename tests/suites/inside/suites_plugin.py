"""pytest plugin: writes down when each test starts and how it ended.

One JSON object a line, written as things happen, so that a crash or a hang still names
its test. SUITES_REPORT names the file; SUITES_SKIP one with the tests not to run again;
SUITES_QUIET names loggers.
"""

import asyncio
import json
import logging
import os

import pytest

WORST_FIRST = ("failed", "skipped", "passed")
REASON_CHARACTERS = 4000


class Report:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.outcomes = {}
        self.reason = ""

    def line(self, **facts):
        self.file.write(json.dumps(facts) + "\n")
        self.file.flush()

    def pytest_runtest_logstart(self, nodeid):
        self.outcomes[nodeid], self.reason = set(), ""
        self.line(kind="start", test=nodeid)

    def pytest_runtest_logreport(self, report):
        outcome = report.outcome
        if outcome != "passed":
            self.reason += str(report.longrepr)[-REASON_CHARACTERS:]
        self.outcomes.setdefault(report.nodeid, set()).add(outcome)

    def pytest_runtest_logfinish(self, nodeid):
        seen = self.outcomes[nodeid]
        outcome = next((kind for kind in WORST_FIRST if kind in seen), "failed")
        self.line(kind="stop", test=nodeid, outcome=outcome, reason=self.reason)

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(kind="broken", reason=report.longreprtext[-REASON_CHARACTERS:])

    def pytest_sessionfinish(self, exitstatus):
        self.line(kind="end", status=int(exitstatus))


def pytest_configure(config):
    report = Report(os.environ["SUITES_REPORT"])
    loop = asyncio.SelectorEventLoop()
    report.line(kind="loop", backend=getattr(loop, "backend", "asyncio"))
    loop.close()
    for name in os.environ.get("SUITES_QUIET", "").split():
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config.pluginmanager.register(report, "suites-report")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    path = os.environ.get("SUITES_SKIP")
    if not path:
        return
    with open(path, encoding="utf-8") as file:
        unwanted = set(json.load(file))
    config.hook.pytest_deselected(
        items=[item for item in items if item.nodeid in unwanted]
    )
    items[:] = [item for item in items if item.nodeid not in unwanted]
