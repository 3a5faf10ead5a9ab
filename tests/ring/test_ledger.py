"""The ledger: who is in flight, who keeps whom alive, and how a ring ends."""

import errno
import gc
import os
import select
import sys
import weakref

import pytest

from uring_loop.driver import ring as driver_ring
from uring_loop.driver.buffer_pool import BufferPool
from uring_loop.driver.ring import Ring

ECANCELED = -errno.ECANCELED
# More than a stack of 8 MiB has frames for.
LONG = 150_000


def polls(ring, ops, pipe, count):
    """Operations that stay in flight."""
    operations = [ops.poll(pipe.read, select.POLLIN) for _ in range(count)]
    for op in operations:
        ring.prepare(op)
    return operations


# ---- who is in flight -------------------------------------------------------


def test_the_ledger_lists_the_newest_first(ring, ops, pipe):
    operations = polls(ring, ops, pipe, 5)
    assert ring.in_flight() == operations[::-1]
    assert ring.in_flight_count == 5
    ring.enter(False)
    ring.reap(10)
    assert ring.in_flight() == operations[::-1]


@pytest.mark.parametrize("order", [
    (0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3), (1, 3, 2, 4, 0)])
def test_operations_leave_the_ledger_in_any_order(ring, ops, pipe, until, order):
    operations = polls(ring, ops, pipe, 5)
    left = operations[::-1]
    for number in order:
        op = operations[number]
        ring.cancel(op)
        until(ring, lambda op=op: not op.in_flight)
        left.remove(op)
        assert ring.in_flight() == left
        assert ring.in_flight_count == len(left)


def test_an_operation_is_out_of_the_ledger_when_it_hears_its_end(ring, ops, until):
    op = ops.nop()
    seen = []
    op.then = lambda operation, res, more: seen.append(
        (operation.in_flight, ring.in_flight()))
    ring.prepare(op)
    until(ring, lambda: seen)
    assert seen == [(False, [])]


def test_a_multishot_stays_until_its_last_completion(
        ring, make_pool, ops, pair, until):
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    for _ in range(5):
        pair[1].send(b"x")
        until(ring, lambda count=len(op.heard): len(op.heard) > count)
        assert ring.in_flight() == [op]
    pair[1].close()
    until(ring, lambda: not op.in_flight)
    assert ring.in_flight() == []


# ---- references -------------------------------------------------------------


def test_the_ledger_alone_keeps_an_operation_and_its_memory(ring, ops, pipe, until):
    heard = []
    op = ops.read(pipe.read, 8)
    op.then = lambda operation, res, more: heard.append(bytes(operation.memory[:res]))
    alive = weakref.ref(op)
    ring.prepare(op)
    ring.enter(False)
    del op
    gc.collect()
    assert alive() is not None
    os.write(pipe.write, b"written")
    until(ring, lambda: heard)
    assert heard == [b"written"]
    assert alive() is None


def test_references_are_balanced(ring, ops, pipe, until):
    op = ops.nop()
    before = sys.getrefcount(op)
    for _ in range(10):
        ring.prepare(op)
        assert sys.getrefcount(op) == before + 1
        until(ring, lambda: not op.in_flight)
    assert sys.getrefcount(op) == before
    waiting, = polls(ring, ops, pipe, 1)
    before = sys.getrefcount(waiting) - 1
    ring.cancel(waiting)
    until(ring, lambda: not waiting.in_flight)
    assert sys.getrefcount(waiting) == before


def test_references_of_neighbours_are_balanced(ring, ops, pipe, until):
    """The ledger's chain runs through the operations themselves."""
    operations = polls(ring, ops, pipe, 3)
    before = [sys.getrefcount(op) for op in operations]
    ring.cancel(operations[1])
    until(ring, lambda: not operations[1].in_flight)
    assert [sys.getrefcount(op) for op in operations] == [
        before[0], before[1] - 1, before[2]]


def test_a_dropped_ring_is_collected_with_its_idle_operations(
        options, no_leaks, ops):
    ring = Ring(sq_entries=8, **options)
    op = ops.nop()
    op.then = lambda operation, res, more, ring=ring: None
    alive = weakref.ref(op)
    ring.prepare(op)
    ring.enter(False)
    ring.reap(10)
    assert not op.in_flight
    number = ring.fileno()
    del ring, op
    gc.collect()
    assert alive() is None
    with pytest.raises(OSError):
        os.fstat(number)


@pytest.mark.parametrize("mode", ["defer", "epoll"])
def test_a_dropped_ring_with_a_long_ledger_does_not_recurse(options, ops, in_child):
    """Each operation holds the next: freeing the first must not use a stack for all."""

    def drop():
        ring = Ring(sq_entries=4096, **options)
        for _ in range(LONG):
            ring.prepare(ops.nop())

    in_child(drop)


@pytest.mark.parametrize("mode", ["defer", "epoll"])
def test_a_long_ledger_is_closed_without_recursion(options, ops, in_child):
    def close():
        # In a child: however slow the machine is.
        driver_ring.DRAIN_SECONDS = 3600
        ring = Ring(sq_entries=4096, **options)
        for _ in range(LONG):
            ring.prepare(ops.nop())
        return ring.close()

    assert in_child(close) == []


def test_memory_that_the_kernel_may_write_outlives_a_dropped_ring(
        options, ops, in_child):
    """A request of a ring that was dropped, not closed, lives on for milliseconds."""
    assert in_child(lambda: drop_and_reuse(ops, options)) == []


def drop_and_reuse(ops, options):
    """In a child: addresses of operation memory that was freed and given out again."""
    size = 1 << 20
    overwritten = []
    for _ in range(20):
        reader, writer = os.pipe()
        ring = Ring(sq_entries=8, **options)
        op = ops.read(reader, size)
        ring.prepare(op)
        ring.enter(False)
        del op, ring
        # The freed block, if it was freed.
        block = bytearray(size)
        os.write(writer, b"X" * 4096)
        os.getppid()
        if any(block):
            overwritten.append(block.count(b"X"))
        os.close(reader)
        os.close(writer)
    return overwritten


# ---- close ------------------------------------------------------------------


def test_close_ends_everything_and_each_hears_it(ring, make_pool, ops, pipe, pair):
    operations = polls(ring, ops, pipe, 20)
    operations.append(ops.receive(pair[0].fileno(), make_pool(ring)))
    operations.append(ops.read(pipe.read, 8))
    ring.prepare(operations[-2])
    ring.prepare(operations[-1])
    assert ring.close() == []
    assert [op.heard for op in operations] == [[(ECANCELED, False)]] * 22
    assert (ring.in_flight_count, ring.in_flight(), ring.closed) == (0, [], True)


def test_close_delivers_what_had_arrived(ring, ops, pipe):
    op = ops.read(pipe.read, 8)
    ring.prepare(op)
    ring.enter(False)
    os.write(pipe.write, b"in time")
    ring.close()
    if op.heard == [(ECANCELED, False)]:
        # As good: the bytes are still in the pipe.
        assert os.read(pipe.read, 8) == b"in time"
    else:
        assert (op.heard, op.memory[:7]) == ([(7, False)], b"in time")


def test_close_ends_what_completions_prepare_meanwhile(ring, ops, pipe):
    first = ops.poll(pipe.read, select.POLLIN)
    second = ops.poll(pipe.read, select.POLLIN)
    first.then = lambda op, res, more: ring.prepare(second)
    ring.prepare(first)
    assert ring.close() == []
    assert first.heard == second.heard == [(ECANCELED, False)]


# Two modes, since close() waits its 2 seconds in each.
@pytest.mark.parametrize("mode", ["defer", "epoll"])
def test_close_returns_what_will_not_end(options, no_leaks, ops, pipe):
    ring = Ring(sq_entries=8, **options)
    stubborn = ops.poll(pipe.read, select.POLLIN)
    stubborn.then = lambda op, res, more: ring.prepare(op)
    ring.prepare(stubborn)
    assert ring.close() == [stubborn]
    assert (stubborn.in_flight, ring.closed) == (False, True)


def test_close_that_is_interrupted_can_be_called_again(ring, ops, pipe):
    operations = polls(ring, ops, pipe, 3)

    def interrupt(op, res, more):
        raise KeyboardInterrupt

    operations[1].then = interrupt
    with pytest.raises(KeyboardInterrupt):
        ring.close()
    assert not ring.closed
    assert ring.close() == []
    assert [op.heard for op in operations] == [[(ECANCELED, False)]] * 3


def test_close_twice_is_once(ring):
    number = ring.fileno()
    assert ring.close() == []
    taken = os.open(os.devnull, os.O_RDONLY)
    assert ring.close() == []
    os.fstat(taken)
    os.close(taken)
    assert ring.fileno() == -1 or number != ring.fileno()


def test_close_survives_a_tiny_completion_queue(make_ring, options, ops, pipe):
    ring = make_ring(sq_entries=2, cq_entries=2, **options)
    operations = polls(ring, ops, pipe, 200)
    assert ring.close() == []
    assert [op.heard for op in operations] == [[(ECANCELED, False)]] * 200


USES = {
    "enable": lambda ring, op: ring.enable(),
    "prepare": lambda ring, op: ring.prepare(op),
    "enter": lambda ring, op: ring.enter(False),
    "enter and wait": lambda ring, op: ring.enter(True),
    "reap": lambda ring, op: ring.reap(1),
    "reap_one": lambda ring, op: ring.reap_one(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_ring_says_so(ring, ops, use):
    ring.close()
    with pytest.raises(RuntimeError, match="the ring is closed"):
        use(ring, ops.nop())


def test_a_closed_ring_can_still_be_looked_at(options, ops, in_child):
    """In a child: the queues are unmapped, a look at them would be the end of it."""

    def look():
        ring = Ring(sq_entries=8, **options)
        ring.close()
        ring.cancel(ops.nop())
        ops.forget_fd(ring, 0)
        return (ring.completions_count, ring.in_flight(), ring.sq_entries,
                ring.need_wait(), ring.has_work())

    assert in_child(look) == (0, [], 8, True, True)


def test_a_closed_ring_takes_no_pool(ring):
    ring.close()
    with pytest.raises((OSError, RuntimeError)):
        BufferPool(ring)


# Each of these would dereference None.
NONES = {
    "prepare": lambda ring: ring.prepare(None),
    "cancel": lambda ring: ring.cancel(None),
}


@pytest.mark.parametrize("use", NONES.values(), ids=NONES)
def test_none_is_no_operation(options, in_child, use):
    def wrong_type():
        with pytest.raises(TypeError):
            use(Ring(sq_entries=8, **options))

    in_child(wrong_type)


# ---- abandon ----------------------------------------------------------------


def test_abandon_does_not_wait_and_returns_what_was_in_flight(ring, ops, pipe):
    operations = polls(ring, ops, pipe, 4)
    ring.enter(False)
    assert ring.abandon() == operations[::-1]
    assert [(op.heard, op.in_flight) for op in operations] == [([], False)] * 4
    assert (ring.closed, ring.in_flight_count, ring.abandon()) == (True, 0, [])


@pytest.mark.parametrize("attempt", range(5))
def test_what_was_abandoned_goes_on_elsewhere(
        ring, make_ring, options, ops, pipe, until, attempt):
    """A loop that moves. The old request lives on for some milliseconds, and must not
    take the bytes that come in meanwhile."""
    op = ops.read(pipe.read, 8)
    ring.prepare(op)
    ring.enter(False)
    other = make_ring(**options)
    for abandoned in ring.abandon():
        other.prepare(abandoned)
    os.write(pipe.write, b"moved")
    until(other, lambda: not op.in_flight)
    assert (op.heard, op.memory[:5]) == ([(5, False)], b"moved")
