"""A plugin of pytest: one line on the guest's second serial port for each test.

Tests that an earlier process of the same part has begun are not begun again: one of
them ended that process.
"""

import json
import os
import pathlib

import pytest

PORT = "/dev/ttyS1"
BEGUN = pathlib.Path("/run/begun")
FINISHED = "all have run"
SHOWN = 1800


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    begun = set(BEGUN.read_text().splitlines())
    items[:] = [item for item in items if one_line(item.nodeid) not in begun]


def pytest_runtest_logstart(nodeid):
    with BEGUN.open("a") as file:
        file.write(one_line(nodeid) + "\n")


def pytest_sessionfinish():
    with BEGUN.open("a") as file:
        file.write(FINISHED + "\n")


def pytest_runtest_logreport(report):
    if report.passed and report.when != "call":
        return
    text = ""
    if report.failed:
        text = str(report.longrepr)[-SHOWN:]
    elif report.skipped:
        text = report.longrepr[2]
    tell("test", [report.nodeid, report.when, report.outcome, round(report.duration, 1),
                  text])
    for name, value in report.user_properties if report.when == "call" else ():
        tell("fact", [name, value])


def pytest_collectreport(report):
    if report.failed:
        tell("test", [report.nodeid, "collect", "failed", 0,
                      str(report.longrepr)[-SHOWN:]])


def tell(kind, value):
    line = (json.dumps([kind, value]) + "\n").encode()
    port = os.open(PORT, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        while line:
            line = line[os.write(port, line):]
    finally:
        os.close(port)


def one_line(nodeid):
    return nodeid.replace("\n", " ")
