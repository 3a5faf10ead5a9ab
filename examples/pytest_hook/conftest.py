"""Runs every asyncio test of this folder on uring_loop and on stock asyncio.

The hook needs pytest-asyncio 1.4 or later. It names the loops that tests run on. Remove
one of the two to run on the other only; put the file into the root of your tests to
apply it to all of them.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest

import uring_loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {
        "uring_loop": uring_loop.new_event_loop,
        "asyncio": asyncio.SelectorEventLoop,
    }
