"""An iteration of a loop in which memory is missing, by CPython's own test module."""

import asyncio

import _testcapi


class Lacking:
    """Fails `count` allocations from the n-th on, counted from begin()."""

    def __init__(self, first, count):
        self.first, self.count = first, count
        self.begin = lambda: _testcapi.set_nomemory(first, first + count)
        self.end = _testcapi.remove_mem_hooks


def turn(loop, count=5):
    for _ in range(count):
        loop.run_until_complete(asyncio.sleep(0))


def run_lacking(loop, lacking, function=lambda: None):
    """One iteration of the loop in which memory is missing, from the function on."""
    def start():
        # Made before: the end of the run needs memory, too.
        loop.call_soon(lacking.end)
        loop.call_soon(loop.stop)
        lacking.begin()
        function()

    loop.call_soon(start)
    try:
        loop.run_forever()
    except MemoryError:
        pass
    finally:
        lacking.end()
    loop.call_soon(loop.stop)
    loop.run_forever()
