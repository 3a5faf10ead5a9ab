"""A pytest plugin that notes which test calls which name of the stock loop, and how.

Every parity test runs on the stock loop as well, whose classes are Python. The
interpreter tells when one of their methods begins (sys.monitoring, Python 3.12); if it
was called by code of the tests, that is noted for the test that runs. Nothing is
wrapped, so that tests which look at names and stacks see what they always see.
"""

import inspect
import json
import os
import pathlib
import socket
import sys
from asyncio import base_events, events, selector_events, sslproto, unix_events

import pytest

from . import names

TESTS = str(pathlib.Path(__file__).resolve().parent.parent)
# What the framework does around each body proves nothing.
FRAMEWORK = os.path.join(TESTS, "parity", "framework.py")
# They pass on what a test has given them; events.py starts a test's coroutines.
PASSING_ON = ("/asyncio/streams.py", "/asyncio/subprocess.py")

# The first that fits names the section; None: by the family of the socket.
SECTIONS = (
    (unix_events._UnixSelectorEventLoop, "loop"),
    (selector_events._SelectorSocketTransport, None),
    (sslproto._SSLProtocolTransport, "TLS"),
    (unix_events._UnixReadPipeTransport, "read pipe"),
    (unix_events._UnixWritePipeTransport, "write pipe"),
    (selector_events._SelectorDatagramTransport, "datagram"),
    (unix_events._UnixSubprocessTransport, "subprocess"),
    (base_events.Server, "Server"),
    (events.TimerHandle, "TimerHandle"),
    (events.Handle, "Handle"),
)
TOOL = sys.monitoring.PROFILER_ID


class Recorder:
    """Collects {test: rows} and {test: outcome}, and writes them at the end."""

    def __init__(self, path):
        self.path = path
        self.test = None
        self.calls = {}
        self.outcomes = {}
        self.signatures = {}

    def watch_all(self):
        begins = sys.monitoring.events.PY_START
        sys.monitoring.use_tool_id(TOOL, __name__)
        sys.monitoring.register_callback(TOOL, begins, self.begins)
        for kind, _ in SECTIONS:
            for name in names.public(kind):
                found = inspect.getattr_static(kind, name)
                function = getattr(found, "fget", found)
                if inspect.isfunction(function):
                    sys.monitoring.set_local_events(TOOL, function.__code__, begins)
                    self.signatures[function.__code__] = inspect.signature(function)

    def begins(self, code, offset):
        frame = sys._getframe(1)
        if self.test is None or not called_by_a_test(frame):
            return
        section = section_of(frame.f_locals["self"])
        row = f"{section}.{code.co_name}"
        rows = self.calls.setdefault(self.test, set())
        rows.add(row)
        for option in given(self.signatures[code].parameters, frame.f_locals):
            rows.add(f"{row}({option}=)")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        self.test = item.nodeid
        try:
            return (yield)
        finally:
            self.test = None

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self):
        found = {"calls": {test: sorted(rows) for test, rows in self.calls.items()},
                 "outcomes": self.outcomes}
        pathlib.Path(self.path).write_text(json.dumps(found), "utf-8")


def section_of(owner):
    for kind, section in SECTIONS:
        if isinstance(owner, kind):
            break
    if section is None:
        family = owner.get_extra_info("socket").family
        section = "Unix" if family == socket.AF_UNIX else "TCP"
    return section


def given(parameters, values):
    """The options that have another value than their default."""
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from values[name]
        elif parameter.default is not parameter.empty:
            if values[name] is not parameter.default:
                yield name


def called_by_a_test(frame):
    caller = frame.f_back
    if caller is None:
        return False
    file = caller.f_code.co_filename
    if file.endswith("/asyncio/events.py"):
        return bool(frame.f_code.co_flags & inspect.CO_COROUTINE)
    if file.endswith(PASSING_ON):
        return True
    return file.startswith(TESTS) and file != FRAMEWORK and file != __file__


def pytest_configure(config):
    recorder = Recorder(os.environ["MATRIX_RECORD"])
    recorder.watch_all()
    config.pluginmanager.register(recorder)
