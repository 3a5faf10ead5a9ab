"""Loops that spin before they sleep, and the check that they took nothing with them."""

import asyncio
import os

import pytest

import uring_loop

from ..parity import loops
from ..parity.framework import finish

# Longer than any test: a spin that somebody has to end.
FOREVER_NS = 100_000_000_000


OPTIONS = {
    "defer": {"backend": "io_uring", "taskrun": "defer"},
    "coop": {"backend": "io_uring", "taskrun": "coop"},
    "epoll": {"backend": "epoll"},
}


@pytest.fixture(params=OPTIONS)
def ring_loop(request, no_leaks):
    """A loop that does not spin yet, on each driver."""
    if request.param != "epoll":
        loops.skip_where_io_uring_is_refused()
    loop = uring_loop.Loop(**OPTIONS[request.param])
    yield loop
    finish(loop)


@pytest.fixture
def spinner(ring_loop):
    """One whose every wait from now on is a spin without end."""
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("a thread with one CPU never spins")
    learn_to_spin(ring_loop, FOREVER_NS)
    return ring_loop


def learn_to_spin(loop, max_ns):
    """Waits that a longer spin would have saved: 4 microseconds, then the longest."""
    loop.set_poll(max_ns=max_ns, grow=FOREVER_NS)
    while loop.statistics().poll_ns < max_ns:
        loop.run_until_complete(asyncio.sleep(0.0001))
