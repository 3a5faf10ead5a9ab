"""The smallest host there can be, and loops for it to run."""

import math
import select

import pytest

import uring_loop

from ..parity import loops
from ..parity.framework import finish

OPTIONS = {
    "defer": {"backend": "io_uring", "taskrun": "defer"},
    "coop": {"backend": "io_uring", "taskrun": "coop"},
    "epoll": {"backend": "epoll"},
}


@pytest.fixture(params=OPTIONS)
def options(request):
    if request.param != "epoll":
        loops.skip_where_io_uring_is_refused()
    return OPTIONS[request.param]


@pytest.fixture
def loop(options, no_leaks):
    loop = uring_loop.Loop(**options)
    yield loop
    finish(loop)


@pytest.fixture
def guest(loop):
    # On a busy machine the usual budget of 5 ms may end in the middle of any turn.
    return loop.guest(budget=3600)


@pytest.fixture
def host(guest):
    """A host in whose main loop the test stands."""
    host = PollHost(guest)
    with guest.running(on_stop=host.end):
        yield host


class PollHost:
    """A main loop of poll(2) and nothing else. `turns` counts its turns."""

    def __init__(self, guest):
        self.guest = guest
        self.ended = False
        self.turns = 0

    def run(self):
        """Until loop.stop()."""
        while not self.ended:
            self.turn()

    def run_until(self, condition):
        while not condition():
            self.turn()

    def turn(self):
        seconds = self.guest.prepare()
        self.sleep(seconds)
        if self.guest.check():
            self.guest.dispatch()
        self.turns += 1

    def sleep(self, seconds):
        """Sleep; True if the guest's descriptor ended it."""
        poll = select.poll()
        poll.register(self.guest.fileno(), select.POLLIN)
        return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def settle(self):
        """Run until there is nothing to do; returns how long it may sleep."""
        while self.guest.prepare() == 0 or self.sleep(0):
            self.guest.dispatch()
        return self.guest.prepare()

    def end(self):
        self.ended = True
