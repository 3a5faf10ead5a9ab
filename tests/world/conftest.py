"""A loop of every kind for each test, and a bounded run on it."""

import asyncio

import pytest

from ..parity import loops
from ..parity.framework import finish
from . import kit


@pytest.fixture(params=kit.EVERY)
def loop(request):
    loop = loops.new(request.param)
    loop.problems = []
    loop.set_exception_handler(lambda _, context: loop.problems.append(context))
    yield loop
    finish(loop)


@pytest.fixture
def run(loop):
    """Run a coroutine on the loop for at most 20 seconds."""

    def run(coroutine, seconds=20):
        return loop.run_until_complete(asyncio.wait_for(coroutine, seconds))

    return run
