"""Random walks through a connection and through timers, each held against a model.

tests/parity/test_random.py compares our loop with asyncio's after each walk; here a
model says what must be true after each step, with a transport at both ends.
"""

import asyncio
import heapq

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from . import loops
from .endpoints import (
    BUFFER_BYTES, as_made_by_the_loop, connected_sockets, pattern, settle)
from .framework import finish

bounded = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,  # the same walks in every run
    phases=[Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)
BIG = 1 << 20
ENDS = st.sampled_from((0, 1))
SIZES = st.one_of(st.integers(0, 100), st.integers(1000, 70_000), st.just(BIG))


class Modelled:
    """What both kinds of protocol below note, and what must hold while they do."""

    def __init__(self, loop):
        self.loop = loop
        self.transport = None
        self.received = bytearray()
        self.expected = bytearray()  # what the other end has written
        self.paused_reading = self.paused_writing = False
        self.eof_written = self.eof_seen = self.ended = False
        self.error = None

    def connection_made(self, transport):
        assert self.transport is None
        self.transport = transport

    def take(self, data):
        assert data, "a piece of nothing"
        assert not (self.paused_reading or self.eof_seen or self.ended)
        self.received += data

    def eof_received(self):
        assert not (self.eof_seen or self.ended or self.paused_reading)
        self.eof_seen = True
        return True

    def pause_writing(self):
        assert not (self.paused_writing or self.ended)
        self.paused_writing = True

    def resume_writing(self):
        assert self.paused_writing and not self.ended
        self.paused_writing = False

    def connection_lost(self, exc):
        assert not self.ended and self.transport.is_closing()
        self.ended = True
        self.error = exc


class Plain(Modelled, asyncio.Protocol):
    """Gets its data handed over."""

    data_received = Modelled.take


class Buffered(Modelled, asyncio.BufferedProtocol):
    """Lends memory for its data."""

    def get_buffer(self, sizehint):
        self.memory = bytearray(BUFFER_BYTES)
        return self.memory

    def buffer_updated(self, nbytes):
        self.take(self.memory[:nbytes])


class Connection(RuleBasedStateMachine):
    """Two transports of one loop; what one has written the other must read."""

    loop_name = None

    def __init__(self):
        super().__init__()
        self.loop = loops.new(self.loop_name)
        self.problems = []
        self.loop.set_exception_handler(lambda _, what: self.problems.append(what))
        self.cut = False  # by abort() or reset: what is on its way may be lost
        self.ends = []

    @initialize(family=st.sampled_from(("tcp", "unix", "own")), kinds=st.tuples(
        *[st.sampled_from((Plain, Buffered))] * 2))
    def connect(self, family, kinds):
        socks = connected_sockets("tcp" if family == "own" else family)
        for sock, kind in zip(socks, kinds, strict=True):
            protocol = kind(self.loop)
            if family == "own":
                sock.setblocking(False)
                made = self.loop.create_connection(lambda: protocol, sock=sock)
            else:
                made = as_made_by_the_loop(self.loop, sock, protocol)
            self.loop.run_until_complete(made)
            self.ends.append(protocol)

    def run(self):
        self.loop.run_until_complete(settle(self.loop, rounds=1))

    def closing(self, end):
        return self.ends[end].transport.is_closing()

    @rule(end=ENDS, size=SIZES, lines=st.booleans())
    def write(self, end, size, lines):
        near, far = self.ends[end], self.ends[1 - end]
        if near.eof_written or near.transport.is_closing():
            return
        data = pattern(size, len(far.expected))
        if lines:
            half = size // 2
            near.transport.writelines([data[:half], bytearray(data[half:])])
        else:
            near.transport.write(memoryview(data))
        far.expected += data

    @rule(end=ENDS)
    def pause(self, end):
        if not self.closing(end) and not self.ends[end].eof_seen:
            self.ends[end].paused_reading = True
            self.ends[end].transport.pause_reading()
            assert not self.ends[end].transport.is_reading()

    @rule(end=ENDS)
    def resume(self, end):
        if not self.closing(end) and not self.ends[end].eof_seen:
            self.ends[end].paused_reading = False
            self.ends[end].transport.resume_reading()
            assert self.ends[end].transport.is_reading()

    @rule(end=ENDS)
    def write_eof(self, end):
        if not self.closing(end):
            self.ends[end].eof_written = True
            self.ends[end].transport.write_eof()

    @rule(end=ENDS, high=st.one_of(st.none(), st.integers(0, 4 * BIG)))
    def water_marks(self, end, high):
        self.ends[end].transport.set_write_buffer_limits(high=high)

    @rule()
    def turn(self):
        self.run()

    @precondition(lambda self: len(self.ends) == 2)
    @rule(end=ENDS)
    def close(self, end):
        # What the far end still sends finds nobody: it may then be reset.
        self.cut = True
        self.ends[end].transport.close()
        self.ends[end].transport.close()
        assert self.closing(end)

    @precondition(lambda self: len(self.ends) == 2)
    @rule(end=ENDS)
    def abort(self, end):
        self.cut = True
        self.ends[end].transport.abort()
        assert self.closing(end)
        assert self.ends[end].transport.get_write_buffer_size() == 0

    @invariant()
    def nothing_is_changed_or_invented(self):
        assert self.problems == []
        for near in self.ends:
            assert near.expected.startswith(near.received)
            if near.error is not None:
                assert self.cut and isinstance(near.error, ConnectionError)

    @invariant()
    def flow_control_tells_the_truth(self):
        for near in self.ends:
            if near.transport.is_closing():
                continue
            low, high = near.transport.get_write_buffer_limits()
            size = near.transport.get_write_buffer_size()
            assert near.paused_writing or size <= high
            assert size > low or not near.paused_writing or low == size == 0

    def teardown(self):
        if len(self.ends) == 2:
            self.end_gently()
        finish(self.loop)

    def end_gently(self):
        """Whoever has not been cut off must get everything, and then the end."""
        gentle = not self.cut
        for near in self.ends:
            if not near.transport.is_closing() and not near.eof_seen:
                near.paused_reading = False
                near.transport.resume_reading()
            if not near.transport.is_closing() and not near.eof_written:
                near.transport.write_eof()
        # Without an end of stream this would not end: then the deadline speaks.
        while gentle and not all(near.eof_seen for near in self.ends):
            self.run()
        for near in self.ends:
            if gentle:
                assert near.received == near.expected
            near.transport.abort()
        self.run()
        self.nothing_is_changed_or_invented()
        assert all(near.ended for near in self.ends)


class Timers(RuleBasedStateMachine):
    """Callbacks and timers under a clock that the walk itself moves."""

    loop_name = None

    def __init__(self):
        super().__init__()
        self.loop = loops.new(self.loop_name)
        self.now = 1000.0
        self.loop.time = lambda: self.now
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.ran = []
        self.count = 0
        self.ready, self.timers = [], []
        self.handles, self.cancelled = {}, set()

    def scheduled(self, make, *args):
        number, self.count = self.count, self.count + 1
        self.handles[number] = make(*args, self.ran.append, number)
        return number

    @rule(threadsafe=st.booleans())
    def soon(self, threadsafe):
        make = self.loop.call_soon_threadsafe if threadsafe else self.loop.call_soon
        self.ready.append(self.scheduled(make))

    @rule(delay=st.integers(-5, 50))
    def later(self, delay):
        number = self.scheduled(self.loop.call_later, delay)
        heapq.heappush(self.timers, (self.now + delay, number))
        assert self.handles[number].when() == self.now + delay

    @rule(when=st.integers(990, 1200))
    def at(self, when):
        number = self.scheduled(self.loop.call_at, float(when))
        heapq.heappush(self.timers, (float(when), number))

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.sampled_from(sorted(self.handles)))
        self.handles[number].cancel()
        self.handles[number].cancel()
        self.cancelled.add(number)
        assert self.handles[number].cancelled()

    @rule(seconds=st.integers(0, 30))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def iterate(self):
        """One iteration: what was ready, in order, then what is due, by time."""
        before = len(self.ran)
        due = {}
        while self.timers and self.timers[0][0] <= self.now:
            when, number = heapq.heappop(self.timers)
            due[number] = when
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        ready = [n for n in self.ready if n not in self.cancelled]
        ran = self.ran[before:]
        assert ran[:len(ready)] == ready
        timers = ran[len(ready):]
        assert sorted(timers) == sorted(due.keys() - self.cancelled)
        # Nothing is promised of timers that are due at the very same time.
        assert [due[n] for n in timers] == sorted(due[n] for n in timers)
        for number in ran:
            del self.handles[number]
        self.ready = []

    def teardown(self):
        self.iterate()
        del self.loop.time
        self.loop.close()
        assert len(self.ran) == len(set(self.ran))


@pytest.mark.parametrize("machine", [Connection, Timers])
@pytest.mark.parametrize("loop_name", loops.under_test())
def test_random_walk(loop_name, machine):
    named = type(machine.__name__, (machine,), {"loop_name": loop_name})
    run_state_machine_as_test(named, settings=bounded)
