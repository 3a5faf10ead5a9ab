"""Stands where uvloop would: its test-suite asks this module for a loop.

So every test of uvloop's suite runs on the loop under test, or on asyncio's.
"""

import os

from asyncio import DefaultEventLoopPolicy as EventLoopPolicy  # noqa: F401
from asyncio import SelectorEventLoop as Loop  # noqa: F401
from asyncio import new_event_loop  # noqa: F401
from asyncio import run  # noqa: F401

__version__ = "0"

# The base classes of uvloop's tests are a module of the package itself.
if sources := os.environ.get("SUITES_UVLOOP"):
    __path__.append(sources)
