"""Full queues, refused entries and floods: nothing is lost and nothing runs twice."""

import errno
import os
import select
import socket

import pytest

from uring_loop.driver.ring import Operation

ONCE = [(0, False)]


# ---- the submission queue ---------------------------------------------------


def test_more_prepared_than_the_queue_holds(make_ring, options, ops, until):
    ring = make_ring(sq_entries=4, cq_entries=256, **options)
    operations = [ops.nop() for _ in range(101)]
    for op in operations:
        ring.prepare(op)
    until(ring, lambda: ring.in_flight_count == 0)
    assert [op.heard for op in operations] == [ONCE] * 101


def test_more_prepared_by_a_completion_than_the_queue_holds(
        make_ring, options, ops, until):
    """Prepared from inside reap(): flushed there, but never reaped from there."""
    ring = make_ring(sq_entries=2, cq_entries=8, **options)
    more = [ops.nop() for _ in range(30)]
    inside = []

    def prepare_more(op, res, has_more):
        for follower in more:
            ring.prepare(follower)
            inside.append(sum(len(f.heard) for f in more))

    first = ops.nop()
    first.then = prepare_more
    ring.prepare(first)
    until(ring, lambda: ring.in_flight_count == 0)
    assert inside == [0] * 30
    assert [op.heard for op in more] == [ONCE] * 30


def test_a_full_queue_of_cancels(make_ring, options, ops, pipe, until):
    ring = make_ring(sq_entries=4, cq_entries=8, **options)
    operations = [ops.poll(pipe.read, select.POLLIN) for _ in range(50)]
    for op in operations:
        ring.prepare(op)
    for op in operations:
        ring.cancel(op)
    until(ring, lambda: ring.in_flight_count == 0)
    assert [op.heard for op in operations] == [[(-errno.ECANCELED, False)]] * 50


def test_an_operation_in_flight_cannot_be_prepared_again(ring, ops, until):
    op = ops.nop()
    ring.prepare(op)
    with pytest.raises((AssertionError, RuntimeError)):
        ring.prepare(op)
    until(ring, lambda: not ring.has_work())
    assert (op.heard, ring.in_flight_count) == (ONCE, 0)


def test_an_operation_is_prepared_again_and_again(ring, ops, until):
    op = ops.nop()
    for count in range(1, 100):
        ring.prepare(op)
        until(ring, lambda: not op.in_flight)
        assert op.heard == ONCE * count


class TestFailedPrepare:
    """An entry was taken for an operation that then could not fill it.

    The slot still holds what an earlier operation put there, its address included:
    submitted as it is, it would complete an operation that is idle, or freed.
    """

    @pytest.fixture
    def used(self, make_ring, options, ops, until):
        """A ring whose every slot holds an old entry, and the operations of these."""
        ring = make_ring(sq_entries=4, **options)
        old = [ops.nop() for _ in range(4)]
        for op in old:
            ring.prepare(op)
        until(ring, lambda: ring.in_flight_count == 0)
        return ring, old

    def check(self, ring, old):
        ring.enter(False)
        while ring.has_work():
            ring.reap(10)
            ring.enter(False)
        assert [op.heard for op in old] == [ONCE] * 4
        assert (ring.in_flight_count, ring.in_flight()) == (0, [])

    def test_by_an_exception(self, used, ops):
        ring, old = used
        spoiled = ops.nop()
        spoiled.spoiled = True
        with pytest.raises(ZeroDivisionError):
            ring.prepare(spoiled)
        assert not spoiled.in_flight
        self.check(ring, old)

    def test_by_an_operation_without_prepare(self, used):
        ring, old = used
        with pytest.raises(NotImplementedError):
            ring.prepare(Operation())
        self.check(ring, old)

    def test_by_an_operation_in_flight(self, used, ops, pipe, until):
        ring, old = used
        op = ops.poll(pipe.read, select.POLLIN)
        ring.prepare(op)
        with pytest.raises((AssertionError, RuntimeError)):
            ring.prepare(op)
        ring.enter(False)
        ring.reap(10)
        assert [o.heard for o in old] == [ONCE] * 4
        os.write(pipe.write, b"x")
        until(ring, lambda: not op.in_flight)
        self.check(ring, old)

    def test_and_the_next_operations_run(self, used, ops, until):
        ring, old = used
        spoiled, good = ops.nop(), ops.nop()
        spoiled.spoiled = True
        for op in (spoiled, good, spoiled):
            try:
                ring.prepare(op)
            except ZeroDivisionError:
                continue
        until(ring, lambda: not good.in_flight)
        assert good.heard == ONCE
        self.check(ring, old)


def test_a_refused_entry_does_not_hold_up_the_others(ring, ops, until):
    """Without SUBMIT_ALL (before 5.18) the kernel stops there; the rest is queued."""
    operations = [ops.nop(), ops.invalid(), ops.nop(), ops.nop()]
    for op in operations:
        ring.prepare(op)
    until(ring, lambda: ring.in_flight_count == 0)
    assert [op.heard for op in operations] == [
        ONCE, [(-errno.EINVAL, False)], ONCE, ONCE]


# ---- the completion queue ---------------------------------------------------


def test_a_flood_overflows_and_loses_nothing(make_ring, options, ops, until):
    ring = make_ring(sq_entries=4, cq_entries=4, **options)
    operations = [ops.nop() for _ in range(1000)]
    for op in operations:
        ring.prepare(op)
    until(ring, lambda: ring.in_flight_count == 0)
    assert [op.heard for op in operations] == [ONCE] * 1000


def test_enter_with_wait_does_not_sleep_on_an_overflow(make_ring, options, ops):
    ring = make_ring(sq_entries=4, cq_entries=4, **options)
    for _ in range(12):
        ring.prepare(ops.nop())
    ring.enter(False)
    seen = 0
    while seen < 12:
        seen += ring.reap(100)
        if seen < 12:
            ring.enter(True, -1)
    assert ring.in_flight_count == 0


@pytest.mark.io_uring_only("on epoll a full queue leaves a multishot armed")
def test_an_overflow_ends_a_multishot_that_can_be_armed_again(
        make_ring, make_pool, options, ops, pair, until):
    ring = make_ring(sq_entries=4, cq_entries=4, **options)
    pool = make_pool(ring, count=16, most=16, buffer_bytes=1)
    op = ops.receive(pair[0].fileno(), pool)
    endings = []

    def arm_again(operation, res, more):
        if not more:
            endings.append(res)
            ring.prepare(operation)

    op.then = arm_again
    ring.prepare(op)
    ring.enter(False)
    sent = bytes(range(200))
    pair[1].send(sent)
    until(ring, lambda: len(op.bytes) == len(sent))
    assert op.bytes == sent
    # Ended by the overflow, or by want of buffers: both were in its way.
    assert endings and op.in_flight
    op.then = None


@pytest.mark.epoll_only("on io_uring a full queue ends a multishot")
def test_a_full_queue_leaves_a_multishot_armed_and_its_bytes_in_the_socket(
        make_ring, make_pool, options, ops, pair, until):
    ring = make_ring(sq_entries=4, cq_entries=4, **options)
    pool = make_pool(ring, count=16, most=16, buffer_bytes=1)
    op = ops.receive(pair[0].fileno(), pool)
    ring.prepare(op)
    sent = bytes(range(200))
    pair[1].send(sent)
    for _ in range(5):
        ring.enter(True, -1)
    assert (ring.completions_count, ops.sq_flags(ring) & ops.SQ_CQ_OVERFLOW) == (4, 0)
    assert ring.has_work()
    until(ring, lambda: len(op.bytes) == len(sent))
    assert op.bytes == sent
    assert op.heard == [(1, True)] * 200
    assert op.in_flight and ring.full_count > 0


def test_one_who_fills_the_queue_each_time_starves_no_other(
        make_ring, make_pool, options, ops, pair, pipe, until):
    """The others' completions find no room behind it, and go first the next time."""
    ring = make_ring(sq_entries=2, cq_entries=2, **options)
    flood = ops.receive(pair[0].fileno(), make_pool(ring, 4, 1, 4))

    def send_more(op, res, more):
        if others:
            pair[1].send(b"x")
        if not more:
            ring.prepare(op)

    others = [ops.read(pipe.read, 1) for _ in range(2)]
    pair[1].send(b"xxxx")
    flood.then = send_more
    for op in (flood, *others):
        ring.prepare(op)
    os.write(pipe.write, b"12")
    while others:
        until(ring, lambda: not others[-1].in_flight)
        assert others.pop().heard == [(1, False)]
    flood.then = None


@pytest.mark.io_uring_only("accept is no operation of the epoll driver's")
@pytest.mark.usefixtures("multishot_accept")
def test_accepts_overflow_and_no_connection_is_lost(make_ring, options, ops, until):
    ring = make_ring(sq_entries=2, cq_entries=2, **options)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        op = ops.accept(listener.fileno())
        op.then = lambda operation, res, more: more or ring.prepare(operation)
        ring.prepare(op)
        ring.enter(False)
        peers = [socket.create_connection(listener.getsockname()) for _ in range(20)]
        until(ring, lambda: len(accepted(op)) == 20)
        ends = [socket.socket(fileno=fd) for fd in accepted(op)]
        names = {end.getpeername() for end in ends}
        assert names == {peer.getsockname() for peer in peers}
        op.then = None
        ring.cancel(op)
        until(ring, lambda: not op.in_flight)
        for sock in ends + peers:
            sock.close()


def accepted(op):
    return [res for res, _ in op.heard if res >= 0]


# ---- reap -------------------------------------------------------------------


def test_reap_keeps_its_limit(ring, ops):
    operations = [ops.nop() for _ in range(7)]
    for op in operations:
        ring.prepare(op)
    ring.enter(False)
    assert ring.reap(3) == 3
    assert ring.completions_count == 4
    assert ring.reap(0) == 0
    assert ring.reap(100) == 4
    assert ring.reap(100) == 0


def test_reap_ends_although_each_completion_makes_another(ring, ops):
    """Bounded by what was there at first: a flood cannot starve timers."""
    op = ops.nop()
    op.then = lambda operation, res, more: (ring.prepare(operation), ring.enter(False))
    ring.prepare(op)
    ring.enter(False)
    assert ring.reap(1_000_000) == 1
    assert ring.completions_count == 1
    op.then = None


def test_completions_are_heard_in_the_order_of_the_queue(ring, ops):
    order = []
    operations = [ops.nop() for _ in range(8)]
    for op in operations:
        op.then = lambda operation, res, more: order.append(operation)
        ring.prepare(op)
    ring.enter(False)
    ring.reap(100)
    assert order == operations


def test_reap_one_names_who_heard(ring, ops):
    op = ops.nop()
    ring.prepare(op)
    ring.enter(False)
    assert ring.reap_one() is op
    assert ring.reap_one() is None


def test_an_exception_leaves_the_other_completions_in_the_queue(ring, ops):
    heard = []

    def interrupt(operation, res, more):
        heard.append(operation)
        if len(heard) == 2:
            raise KeyboardInterrupt

    operations = [ops.nop() for _ in range(5)]
    for op in operations:
        op.then = interrupt
        ring.prepare(op)
    ring.enter(False)
    with pytest.raises(KeyboardInterrupt):
        ring.reap(100)
    assert ring.completions_count == 3
    assert not operations[1].in_flight
    assert ring.reap(100) == 3
    assert heard == operations
    assert ring.in_flight_count == 0


def test_a_completion_may_close_the_ring(ring, ops):
    operations = [ops.nop() for _ in range(4)]
    closed = []
    operations[1].then = lambda op, res, more: closed.append(ring.close())
    for op in operations:
        ring.prepare(op)
    ring.enter(False)
    ring.reap(100)
    assert closed == [[]]
    assert [op.heard for op in operations] == [ONCE] * 4
