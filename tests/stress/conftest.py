"""A loop for each stress test, and the check that it took nothing with it."""

import asyncio

import pytest

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops
from ..parity.framework import finish, open_fds


@pytest.fixture(params=loops.under_test())
def loop(request):
    before = open_fds()
    loop = loops.new(request.param)
    problems = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    yield loop
    finish(loop)
    left = open_fds() - before
    assert not left, f"descriptors left behind: {sorted(left)}"
    assert not problems, f"the loop reported: {problems[:3]}"


@pytest.fixture
def run(loop):
    """Run a coroutine on the loop, bounded: a stress test that hangs has failed."""

    def run(coroutine, seconds=2 * PATIENCE_SECONDS):
        return loop.run_until_complete(asyncio.wait_for(coroutine, seconds))

    return run
