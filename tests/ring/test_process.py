"""Forked children and other threads: who may use a ring, and what the others hear."""

import ctypes
import errno
import gc
import mmap
import os
import select
import threading
import time

import pytest

from uring_loop.driver.buffer_pool import BufferPool
from uring_loop.driver.ring import Ring

FORKED = "made before fork.*make a new event loop in the child"
FOREIGN = "belongs to another thread .SINGLE_ISSUER"


def check_message(pattern, function, *arguments):
    with pytest.raises(RuntimeError, match=pattern):
        function(*arguments)


# ---- fork -------------------------------------------------------------------


@pytest.fixture
def parents(ring, ops, pipe):
    """The ring of the parent, with one read in flight."""
    op = ops.read(pipe.read, 8)
    ring.prepare(op)
    ring.enter(False)
    return ring, op


@pytest.fixture
def unaffected(parents, ops, pipe, until, has_reason):
    """After whatever a child did, the parent's ring goes on as if nothing had been."""
    yield
    ring, op = parents
    assert (ring.in_flight(), ring.closed, ring.enabled) == ([op], False, True)
    assert not has_reason(ring)
    os.write(pipe.write, b"parent")
    until(ring, lambda: not op.in_flight)
    assert (op.heard, op.memory[:6]) == ([(6, False)], b"parent")
    other = ops.nop()
    ring.prepare(other)
    until(ring, lambda: not other.in_flight)
    assert other.heard == [(0, False)]
    assert ring.completions_count == 0


def test_a_child_is_told_to_make_its_own_loop(parents, unaffected, ops, in_child):
    ring, op = parents

    def use():
        idle = ops.nop()
        check_message(FORKED, ring.prepare, idle)
        check_message(FORKED, ring.cancel, op)
        check_message(FORKED, ring.enter, False)
        check_message(FORKED, ring.enter, True, 0)
        check_message(FORKED, ring.reap, 10)
        check_message(FORKED, ring.reap_one)
        check_message(FORKED, ring.enable)
        return idle.in_flight, idle.heard, ring.need_wait(), ring.has_work()

    assert in_child(use) == (False, [], True, True)


def test_a_child_may_look(parents, unaffected, in_child):
    ring, _ = parents

    def look():
        return ring.completions_count, ring.in_flight_count, "enabled" in repr(ring)

    assert in_child(look) == (0, 1, True)


def test_what_a_child_forgets_its_parent_hears_of(ring, ops, pipe, until, in_child):
    """An epoll set is shared with the child, which must take nothing out of it, such as
    the registration that waits here for the next read."""
    op = ops.read(pipe.read, 8)
    for count in (1, 2):
        ring.prepare(op)
        ring.enter(False)
        os.write(pipe.write, b"parent")
        until(ring, lambda: not op.in_flight)
        assert op.heard == [(6, False)] * count
        in_child(lambda: ops.forget_fd(ring, pipe.read))


@pytest.mark.epoll_only("io_uring's registrations are not by number")
def test_what_a_child_closes_stays_registered_for_its_parent(
        parents, unaffected, pipe, in_child):
    def close():
        os.close(pipe.read)
        parents[0].close()

    in_child(close)


def test_a_pools_buffers_are_not_in_a_childs_memory(
        parents, unaffected, make_pool, ops, in_child):
    """Data of the parent's connections, and the place where the next will come."""
    pool = make_pool(parents[0])
    places = ops.addresses(pool)
    assert [is_mapped(place) for place in places] == [True] * 2
    assert in_child(lambda: [is_mapped(place) for place in places]) == [False] * 2


@pytest.mark.io_uring_only("on epoll the queues are the process's own memory")
def test_nothing_that_the_kernel_writes_is_in_a_childs_memory(
        parents, unaffected, make_pool, ops, in_child):
    """A child that wrote a tail would submit in the name of its parent."""
    pool = make_pool(parents[0])
    places = [*ops.queues(parents[0]), *ops.addresses(pool)]
    assert [is_mapped(place) for place in places] == [True] * 5
    assert in_child(lambda: [is_mapped(place) for place in places]) == [False] * 5


def test_a_child_closes_its_copy_and_harms_nobody(parents, unaffected, in_child):
    ring, op = parents

    def close():
        left = ring.close()
        return left == [op], ring.closed, op.heard, ring.close()

    assert in_child(close) == (True, True, [], [])


def test_a_child_drops_its_copy_and_harms_nobody(
        options, ops, until, in_child):
    holder = [Ring(sq_entries=8, **options)]

    def drop():
        holder.clear()
        gc.collect()

    in_child(drop)
    op = ops.nop()
    holder[0].prepare(op)
    until(holder[0], lambda: not op.in_flight)
    assert op.heard == [(0, False)]
    holder[0].close()


def test_a_child_makes_its_own_ring(
        parents, unaffected, options, ops, until, in_child):
    def own():
        ring = Ring(sq_entries=8, **options)
        op = ops.nop()
        ring.prepare(op)
        until(ring, lambda: not op.in_flight)
        return op.heard, ring.close()

    assert in_child(own) == ([(0, False)], [])


def test_a_grandchild_is_no_parent(parents, unaffected, options, in_child):
    ring, _ = parents

    def fork_again():
        own = Ring(sq_entries=8, **options)
        in_child(lambda: check_message(FORKED, own.enter, False))
        in_child(lambda: check_message(FORKED, ring.enter, False))
        own.enter(False)
        return own.close()

    assert in_child(fork_again) == []


def test_a_child_that_drops_a_pool_unmaps_nothing_of_its_own(
        options, ops, in_child):
    """The pool's pages are not inherited: something else may stand there by now."""
    ring = Ring(sq_entries=8, **options)
    size = 1 << 20
    holder = [BufferPool(ring, 16, size // 16, 16)]
    _, start = ops.addresses(holder[0])

    def drop():
        block = fill_hole(start, size)
        holder.clear()
        gc.collect()
        return block[:] == b"x" * size

    assert in_child(drop)
    holder.clear()
    ring.close()


def fill_hole(start, size):
    """Map memory at the address where the pool was, and fill it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long)
    assert not is_mapped(start)
    # MAP_FIXED_NOREPLACE, which the mmap module lacks. It never unmaps anything.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000
    found = libc.mmap(start, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    assert found == start
    block = (ctypes.c_char * size).from_address(start)
    block[:] = b"x" * size
    return block


def is_mapped(address):
    with open("/proc/self/maps") as maps:
        ranges = [line.split(maxsplit=1)[0].split("-") for line in maps]
    return any(int(low, 16) <= address < int(high, 16) for low, high in ranges)


def test_a_child_that_runs_another_program_does_not_inherit_the_ring(ring):
    assert not os.get_inheritable(ring.fileno())


def test_a_child_whose_answer_cannot_be_sent_ends_all_the_same(in_child):
    """Else it would go on with its parent's tests."""
    with pytest.raises(AssertionError, match="pickle"):
        in_child(lambda: lambda: None)


# ---- threads ----------------------------------------------------------------


def in_thread(function, *arguments):
    """The result in another thread; raises here what it raises there."""
    outcome = []

    def call():
        try:
            outcome.append((True, function(*arguments)))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    # For Python it has ended a little before it has for the kernel.
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        time.sleep(0.001)
    good, value = outcome[0]
    if not good:
        raise value
    return value


@pytest.fixture(params=["defer", "coop"])
def own_ring(request, make_ring):
    """A ring that only its thread may use."""
    ring = make_ring(taskrun=request.param)
    if "SINGLE_ISSUER" not in ring.flag_names:
        pytest.skip("no SINGLE_ISSUER before Linux 6.0")
    return ring


@pytest.mark.io_uring_only("SINGLE_ISSUER is the kernel's")
@pytest.mark.parametrize("wait", [False, True])
def test_another_thread_may_not_submit(own_ring, ops, until, wait):
    op = ops.nop()
    own_ring.prepare(op)
    with pytest.raises(RuntimeError, match=FOREIGN):
        in_thread(own_ring.enter, wait, 0)
    # Nothing is lost by the attempt.
    until(own_ring, lambda: not op.in_flight)
    assert op.heard == [(0, False)]


@pytest.mark.io_uring_only("SINGLE_ISSUER is the kernel's")
def test_what_another_thread_finds_no_room_for_waits_for_the_rings_own(
        own_ring, ops, until):
    """In its order, and before anything newer: a cancel stays behind its request."""
    order = []

    def prepare(count):
        for op in (ops.nop() for _ in range(count)):
            operations.append(op)
            op.then = lambda op, res, more: order.append(operations.index(op))
            own_ring.prepare(op)

    operations = []
    many = 5 * own_ring.sq_entries
    in_thread(prepare, many)
    assert own_ring.need_wait() and own_ring.in_flight_count == many
    with pytest.raises(RuntimeError, match=FOREIGN):
        in_thread(own_ring.enter, False)
    prepare(3)
    until(own_ring, lambda: own_ring.in_flight_count == 0)
    assert order == list(range(many + 3))
    assert not own_ring.need_wait()


@pytest.mark.io_uring_only("SINGLE_ISSUER is the kernel's")
def test_another_thread_withdraws_what_waits_beside_a_full_queue(
        own_ring, ops, pipe, until):
    def arm_and_withdraw():
        for op in operations:
            own_ring.prepare(op)
        for op in operations:
            own_ring.cancel(op)

    operations = [ops.poll(pipe.read, select.POLLIN)
                  for _ in range(3 * own_ring.sq_entries)]
    in_thread(arm_and_withdraw)
    until(own_ring, lambda: own_ring.in_flight_count == 0)
    assert [op.heard for op in operations] == (
        [[(-errno.ECANCELED, False)]] * len(operations))


@pytest.mark.io_uring_only("SINGLE_ISSUER is the kernel's")
def test_what_waits_beside_a_full_queue_goes_with_the_ring(own_ring, ops):
    operations = [ops.nop() for _ in range(3 * own_ring.sq_entries)]
    in_thread(lambda: [own_ring.prepare(op) for op in operations])
    assert own_ring.abandon() == operations[::-1]
    assert not any(op.in_flight for op in operations)


@pytest.mark.io_uring_only("task work is the kernel's")
def test_another_thread_cannot_wait_for_deferred_work(make_ring):
    ring = make_ring(taskrun="defer")
    if "DEFER_TASKRUN" not in ring.flag_names:
        pytest.skip("no DEFER_TASKRUN before Linux 6.1")
    with pytest.raises(RuntimeError, match=FOREIGN):
        in_thread(ring.enter, True, 0)


@pytest.mark.parametrize("mode", ["plain", "epoll"])
def test_a_ring_without_a_single_issuer_is_for_all_threads(ring, ops):
    """As on kernels before 6.0, and on epoll."""
    op = ops.nop()

    def use():
        ring.prepare(op)
        ring.enter(True)
        return ring.reap(10)

    assert in_thread(use) == 1
    assert op.heard == [(0, False)]


@pytest.mark.io_uring_only("the binding to a thread is the kernel's")
@pytest.mark.parametrize("taskrun", ["defer", "coop"])
def test_a_ring_whose_thread_is_gone_is_abandoned_and_its_work_goes_on(
        io_uring, no_leaks, make_ring, make_pool, ops, pair, until, taskrun):
    """The binding is never released: everyone else gets the error for ever."""
    ring = make_ring(taskrun=taskrun, disabled=True)
    op = ops.receive(pair[0].fileno(), make_pool(ring))

    def arm():
        ring.enable()
        ring.prepare(op)
        ring.enter(False)

    in_thread(arm)
    if "SINGLE_ISSUER" in ring.flag_names:
        ring.prepare(ops.nop())
        with pytest.raises(RuntimeError, match=FOREIGN):
            ring.enter(False)
    # close() knows that it cannot wait here, and does not try.
    assert op in ring.close()
    assert not op.in_flight
    other = make_ring(taskrun=taskrun)
    pool = make_pool(other)
    again = ops.receive(pair[0].fileno(), pool)
    other.prepare(again)
    pair[1].send(b"in the new thread")
    until(other, lambda: len(again.bytes) == 17)
    assert again.bytes == b"in the new thread"


@pytest.mark.epoll_only("an io_uring instance obeys one thread for ever")
def test_a_ring_whose_thread_is_gone_goes_on_in_another(
        ring, make_pool, ops, pair, pipe, until):
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    many = [ops.poll(pipe.read, select.POLLIN) for _ in range(3 * ring.sq_entries)]

    def arm():
        ring.prepare(op)
        for poll in many:
            ring.prepare(poll)
        ring.enter(False)

    in_thread(arm)
    pair[1].send(b"in the old ring")
    until(ring, lambda: op.bytes)
    assert op.bytes == b"in the old ring"
    os.write(pipe.write, b"x")
    until(ring, lambda: not any(poll.in_flight for poll in many))
    assert [poll.heard for poll in many] == [[(select.POLLIN, False)]] * len(many)


@pytest.mark.epoll_only("an io_uring instance obeys one thread for ever")
def test_close_in_another_thread_ends_everything(ring, ops, pipe):
    op = ops.poll(pipe.read, select.POLLIN)
    ring.prepare(op)
    ring.enter(False)
    assert in_thread(ring.close) == []
    assert op.heard == [(-errno.ECANCELED, False)]


@pytest.mark.io_uring_only("the binding to a thread is the kernel's")
def test_a_thread_with_the_number_of_an_ended_one_is_another(
        io_uring, ops, pipe, no_leaks):
    """Numbers of threads are used again; the kernel's binding to a thread is not."""
    ring = Ring(sq_entries=8, disabled=True)
    op = ops.poll(pipe.read, select.POLLIN)

    def arm():
        ring.enable()
        ring.prepare(op)
        ring.enter(False)
        return threading.get_ident()

    number = in_thread(arm)
    left, own_number = in_thread(lambda: (ring.close(), threading.get_ident()))
    if number != own_number:
        pytest.skip("the number was not given out again")
    assert left == [op]


@pytest.mark.io_uring_only("SINGLE_ISSUER is the kernel's")
def test_close_in_another_thread_does_not_wait(own_ring, ops, pipe):
    op = ops.poll(pipe.read, select.POLLIN)
    own_ring.prepare(op)
    own_ring.enter(False)
    assert in_thread(own_ring.close) == [op]
    assert (own_ring.closed, op.in_flight, op.heard) == (True, False, [])
