"""A loop of every kind for each test, and a bounded run on it."""

import asyncio

import pytest

from tests.slowness import PATIENCE_SECONDS

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
    """Run a coroutine on the loop for at most PATIENCE_SECONDS."""

    def run(coroutine, seconds=PATIENCE_SECONDS):
        return loop.run_until_complete(asyncio.wait_for(coroutine, seconds))

    return run
