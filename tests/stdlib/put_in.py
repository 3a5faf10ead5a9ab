"""Make the loop under test the loop that asyncio gives to everybody.

This runs in the child process, before a test module is imported. CPython's tests get
a loop in four ways, and all of them must end at the class under test:

- by calling a class (`asyncio.SelectorEventLoop(selector)`, `asyncio.EventLoop()`),
- by `asyncio.new_event_loop()`, `asyncio.run()` or `asyncio.Runner()`,
- by the factory of the default policy,
- by `self.new_test_loop()`, CPython's loop with a clock that tests move by hand; where
  a test moves no clock (gives no generator), a real loop must do as well,
- by calling `BaseEventLoop()`: only in the two files that test a loop that way, since
  the loop with the clock derives from that class and must go on doing so.
"""

import asyncio
import asyncio.base_events
import asyncio.events
import asyncio.unix_events
import importlib
import types

LOOPS = {
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:Loop",
    "uring_loop": "uring_loop:Loop",
}

# Where a file calls BaseEventLoop(): the module global that it reaches the class by.
BASE_LOOP_ROOTS = {"test_base_events": "base_events", "test_runners": "asyncio"}

# Files that look into CPython's test loop (`assert_reader`) even without its clock.
TEST_LOOP_KEPT = {"test_unix_events"}


def loop_class(loop_name):
    """Return (class under test, list that grows by one for every loop made)."""
    module_name, class_name = LOOPS[loop_name].split(":")
    parent = getattr(importlib.import_module(module_name), class_name)
    made = []
    wants_selector = loop_name == "asyncio"

    class LoopUnderTest(parent):
        def __init__(self, selector=None):
            made.append(type(selector).__name__)
            if wants_selector:
                super().__init__(selector)
                return
            if selector is not None:
                selector.close()
            super().__init__()

    # Some tests look for the name of asyncio's class in a repr.
    LoopUnderTest.__name__ = parent.__name__
    LoopUnderTest.__qualname__ = parent.__qualname__
    LoopUnderTest.__module__ = parent.__module__
    return LoopUnderTest, made


def put_in(loop):
    """Replace every public name and factory that makes the default loop."""
    unix_events = asyncio.unix_events
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
            if hasattr(module, name):
                setattr(module, name, loop)
    # The name differs: 3.14 made the policy class private and deprecated it.
    policies = [
        getattr(unix_events, name)
        for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy")
        if hasattr(unix_events, name)
    ]
    if not policies:
        raise RuntimeError("asyncio.unix_events has no default policy to change")
    for policy in policies:
        policy._loop_factory = loop


def put_in_test_loop(file_name, loop):
    """Let `TestCase.new_test_loop()` make the loop under test."""
    if file_name in TEST_LOOP_KEPT:
        return
    test_case = importlib.import_module("test.test_asyncio.utils").TestCase
    with_clock = test_case.new_test_loop

    def new_test_loop(self, gen=None):
        if gen is not None:
            return with_clock(self, gen)
        made = loop()
        self.set_event_loop(made)
        return made

    test_case.new_test_loop = new_test_loop


def put_in_base(test_module, loop):
    """Let `BaseEventLoop()` in this test module make the loop under test."""
    short_name = test_module.__name__.rpartition(".")[2]
    root = BASE_LOOP_ROOTS.get(short_name)
    if root is None:
        return
    view = types.ModuleType(root)
    view.__dict__.update(vars(getattr(test_module, root)))
    view.BaseEventLoop = base_loop_class(loop)
    setattr(test_module, root, view)


def base_loop_class(loop):
    """A class for tests that take the loop's I/O away by setting mocks.

    BaseEventLoop has no I/O to lose. A real loop needs its own selector back to close,
    and its own wake-up, or it sleeps for ever while another thread has work for it.
    """

    class BaseLoopUnderTest(loop):
        def __init__(self):
            super().__init__()
            self.own_selector = getattr(self, "_selector", None)

        def close(self):
            self._selector = self.own_selector
            super().close()

        def __setattr__(self, name, value):
            if name == "_write_to_self":
                value.side_effect = super()._write_to_self
            super().__setattr__(name, value)

    return BaseLoopUnderTest
