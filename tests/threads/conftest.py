"""The loops that the thread tests run on, and the check that nothing stays behind."""

import pytest

from ..parity import loops

# What a Loop is made with: each way to get completions, and no ring at all.
KINDS = {
    "defer": {"backend": "io_uring", "taskrun": "defer"},
    "coop": {"backend": "io_uring", "taskrun": "coop"},
    "epoll": {"backend": "epoll"},
}


@pytest.fixture(params=KINDS)
def options(request, no_leaks):
    """Options for Loop, IOThread and IOThreadGroup; nothing may be left behind."""
    return chosen(request.param)


@pytest.fixture(params=["defer", "coop"])
def ring_options(request, no_leaks):
    """The same, for what only rings do."""
    return chosen(request.param)


def chosen(name):
    if KINDS[name]["backend"] == "io_uring":
        loops.skip_where_io_uring_is_refused()
    return KINDS[name]
