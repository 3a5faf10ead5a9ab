"""need_wait(): each of the four reasons to enter, and the quiet ring that has none.

On epoll only a system call can tell whether something is ready, so that need_wait() is
true there while anything is armed; has_work() is the certain answer on both drivers.
"""

import errno
import itertools
import os
import select
import threading
import time

import pytest

from .conftest import ENTER_LIMIT_NS

# Some seconds of looking in user space: a bound, not a measure.
LOOKS = 1_000_000_000


@pytest.fixture
def armed(ring, make_pool, ops, pair):
    """A multishot receive that has been submitted and has heard nothing."""
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    ring.enter(False)
    assert op.heard == []
    return op


def test_a_quiet_ring_has_no_reason(ring):
    assert not (ring.need_wait() or ring.has_work())


def test_a_ring_that_only_waits_has_no_reason(ring, armed, has_reason):
    assert ring.in_flight_count == 1
    assert not has_reason(ring)


@pytest.mark.epoll_only("io_uring's flags tell without a system call")
def test_what_is_armed_might_be_ready(ring, armed):
    assert (ring.need_wait(), ring.has_work()) == (True, False)


def test_an_entry_not_submitted_is_a_reason(ring, ops, has_reason):
    ring.prepare(ops.nop())
    assert ring.completions_count == 0
    assert has_reason(ring)


def test_a_completion_not_reaped_is_a_reason(ring, ops, has_reason):
    ring.prepare(ops.nop())
    ring.enter(False)
    assert ring.completions_count == 1
    assert has_reason(ring)
    ring.reap(1)
    assert not has_reason(ring)


def test_a_cancel_not_submitted_is_a_reason(ring, armed, has_reason):
    ring.cancel(armed)
    assert has_reason(ring)


def test_what_has_arrived_is_a_reason_until_it_has_been_heard(
        ring, armed, pair, has_reason):
    pair[1].send(b"there")
    assert ring.need_wait() and has_reason(ring)
    ring.enter(False)
    ring.reap(10)
    assert armed.bytes == b"there"
    assert not has_reason(ring)


def test_what_nobody_waits_for_any_more_is_no_reason_for_long(
        ring, mode, ops, pipe, until, has_reason):
    """A descriptor that is ready, was polled, and is not polled again: epoll has to
    take its registration out, else a host that polls the set would never sleep."""
    op = ops.poll(pipe.read, select.POLLIN)
    ring.prepare(op)
    os.write(pipe.write, b"unread")
    until(ring, lambda: not op.in_flight)
    for _ in range(2 if mode == "epoll" else 0):
        ring.enter(False)
        assert ring.reap(10) == 0
    assert not has_reason(ring)
    assert len(op.heard) == 1


@pytest.mark.io_uring_only("task work is the kernel's")
def test_deferred_work_is_a_reason_while_the_queue_looks_empty(
        make_ring, make_pool, ops, pair):
    """The live-lock of kernel facts: a look at the queue alone would never see it."""
    ring = make_ring(taskrun="defer")
    if "DEFER_TASKRUN" not in ring.flag_names:
        pytest.skip("no DEFER_TASKRUN before Linux 6.1")
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    ring.enter(False)
    pair[1].send(b"there")
    os.getppid()
    assert (ring.need_wait(), ring.completions_count) == (True, 0)
    assert ops.sq_flags(ring) & ops.SQ_TASKRUN
    assert ring.reap(10) == 0
    ring.enter(False)
    assert ring.reap(10) == 1
    assert op.bytes == b"there"
    assert not ring.need_wait()


def test_a_completion_during_a_spin_in_user_space_is_seen(
        ring, armed, mode, ops, pair):
    """Another thread sends while this one makes no system call at all, or on epoll
    none that would carry anything out."""
    thread, needed, ready, flags = send_during_spin(ring, ops, pair[1])
    thread.join()
    assert needed
    if mode == "defer":
        assert (ready, bool(flags & ops.SQ_TASKRUN)) == (0, True)
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    assert armed.bytes == b"x"


def send_during_spin(ring, ops, sock):
    def send():
        while not ops.is_spinning():
            time.sleep(0)
        sock.send(b"x")

    thread = threading.Thread(target=send)
    thread.start()
    return thread, *ops.spin(ring, LOOKS)


@pytest.mark.io_uring_only("task work is the kernel's")
@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU: the spinner is interrupted")
def test_coop_holds_completions_back_until_the_flag_is_seen(
        make_ring, make_pool, ops, pair):
    """A timer tick may post first, on a busy machine mostly; the flag must be what ends
    some spin before the test's deadline."""
    ring = make_ring(taskrun="coop")
    if "TASKRUN_FLAG" not in ring.flag_names:
        pytest.skip("no TASKRUN_FLAG before Linux 5.19")
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    ring.enter(False)
    for count in itertools.count(1):
        thread, needed, ready, flags = send_during_spin(ring, ops, pair[1])
        thread.join()
        assert needed
        ring.enter(True, ENTER_LIMIT_NS)
        ring.reap(10)
        assert op.bytes == b"x" * count
        if ready == 0 and flags & ops.SQ_TASKRUN:
            break


@pytest.mark.io_uring_only("task work is the kernel's")
def test_without_the_flag_a_loop_that_looks_and_polls_makes_no_progress(
        make_ring, make_pool, ops, pair):
    """DEFER: neither the queue nor poll(2) on the ring ever shows the completion, so
    who enters only for what the queue shows never enters. The flag is there at once."""
    ring = make_ring(taskrun="defer")
    if "DEFER_TASKRUN" not in ring.flag_names:
        pytest.skip("no DEFER_TASKRUN before Linux 6.1")
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    ring.enter(False)
    pair[1].send(b"there")
    poll = select.poll()
    poll.register(ring.fileno(), select.POLLIN)
    for _ in range(2_000):
        poll.poll(0)
        assert ring.completions_count == 0
        assert ring.reap(10) == 0
        assert ring.need_wait()
    ring.enter(False)
    ring.reap(10)
    assert op.bytes == b"there"


def test_an_overflow_is_a_reason_while_the_queue_looks_empty(
        make_ring, options, ops, has_reason):
    ring = make_ring(sq_entries=4, cq_entries=4, **options)
    operations = [ops.nop() for _ in range(12)]
    for op in operations:
        ring.prepare(op)
    ring.enter(False)
    assert ring.completions_count == 4
    assert ops.sq_flags(ring) & ops.SQ_CQ_OVERFLOW
    seen = 0
    while has_reason(ring):
        seen += ring.reap(100)
        if seen < 12:
            assert (ring.completions_count, has_reason(ring)) == (0, True)
        ring.enter(False)
    assert seen == 12
    assert [op.heard for op in operations] == [[(0, False)]] * 12


def test_a_closed_ring_says_true_and_enter_says_why(ring):
    ring.close()
    assert ring.need_wait() and ring.has_work()
    with pytest.raises(RuntimeError, match="the ring is closed"):
        ring.enter(False)


# ---- who else may look: the descriptor, and an eventfd ----------------------


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


@pytest.mark.io_uring_only("a host of an epoll ring polls the set itself")
def test_a_registered_eventfd_tells_of_deferred_work(ring, armed, ops, pair):
    """What a foreign loop polls: the ring's own descriptor is silent under DEFER."""
    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        assert ops.register_eventfd(ring, fd) == 0
        assert not readable(fd)
        pair[1].send(b"there")
        assert readable(fd) and ring.need_wait()
        ring.enter(False)
        ring.reap(10)
        assert armed.bytes == b"there"
        assert ops.unregister_eventfd(ring) == 0
        os.eventfd_read(fd)
        pair[1].send(b" too")
        assert not readable(fd) and ring.need_wait()
    finally:
        os.close(fd)


@pytest.mark.epoll_only("the ring's descriptor is silent under DEFER_TASKRUN")
def test_the_set_itself_tells_a_host(ring, armed, ops, pair):
    """Which therefore needs no eventfd, and gets none."""
    assert not readable(ring.fileno())
    pair[1].send(b"there")
    assert readable(ring.fileno())
    ring.enter(False)
    assert ring.reap(10) == 1
    assert armed.bytes == b"there"
    assert not readable(ring.fileno())
    assert ops.register_eventfd(ring, 0) == -errno.EINVAL


@pytest.mark.io_uring_only("an epoll ring is entered by no descriptor")
def test_the_registered_ring_fd_serves_its_thread_only(ring, armed, ops, pair):
    assert ops.register_ring_fd(ring) == 1
    pair[1].send(b"there")
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    assert armed.bytes == b"there"
    errors = []

    def enter():
        try:
            ring.enter(False)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    # The table of registered rings belongs to the task.
    assert len(errors) == 1
    # Else the index would keep the ring alive after close().
    assert ops.unregister_ring_fd(ring) == 1
    ring.enter(False)
