"""Tests with pytest-asyncio on uring_loop by the `event_loop_policy` fixture.

    python -m pytest -v examples/pytest_policy

For pytest-asyncio before 1.4, which has no hook for loops. Newer ones still take the
fixture with a deprecation warning, and Python 3.16 has no policies: write new tests as
in examples/pytest_hook.
"""

import asyncio

import pytest

import uring_loop


@pytest.fixture(scope="session")
def event_loop_policy() -> uring_loop.EventLoopPolicy:
    return uring_loop.EventLoopPolicy()


@pytest.mark.asyncio
async def test_runs_on_uring_loop() -> None:
    assert isinstance(asyncio.get_running_loop(), uring_loop.Loop)


@pytest.mark.asyncio
async def test_other_threads_get_a_loop_of_their_own() -> None:
    def loop_of_a_thread() -> type:
        async def kind() -> type:
            return type(asyncio.get_running_loop())
        return asyncio.run(kind())

    assert await asyncio.to_thread(loop_of_a_thread) is uring_loop.Loop
