"""Cancelling is a request: the operation ends with its own last completion, once."""

import errno
import os
import select
import socket

import pytest

ECANCELED = -errno.ECANCELED


@pytest.fixture
def armed(ring, make_pool, ops, pair):
    """A multishot receive in flight."""
    op = ops.receive(pair[0].fileno(), make_pool(ring, count=4, most=4))
    ring.prepare(op)
    ring.enter(False)
    return op


def test_cancel_in_flight(ring, armed, until, has_reason):
    ring.cancel(armed)
    assert armed.in_flight and armed.cancel_requested and armed.heard == []
    until(ring, lambda: not armed.in_flight)
    assert armed.heard == [(ECANCELED, False)]
    assert not has_reason(ring)


def test_a_cancel_takes_no_place_in_the_completion_queue(ring, armed, mode):
    """Its own answer is skipped where the kernel can; before 5.17 it is ignored."""
    ring.cancel(armed)
    seen = 0
    while ring.need_wait():
        ring.enter(False)
        seen += ring.reap(10)
    assert armed.heard == [(ECANCELED, False)]
    assert seen == (2 if mode == "plain" else 1)


def test_cancel_before_it_is_submitted(ring, ops, pipe, until):
    op = ops.poll(pipe.read, select.POLLIN)
    ring.prepare(op)
    ring.cancel(op)
    assert op.heard == []
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(ECANCELED, False)]


def test_cancel_twice_is_one_request(ring, armed, until):
    for _ in range(3):
        ring.cancel(armed)
    until(ring, lambda: not armed.in_flight)
    assert armed.heard == [(ECANCELED, False)]
    ring.enter(False)
    assert ring.completions_count == 0


def test_cancel_of_an_idle_operation_is_nothing(ring, ops):
    op = ops.nop()
    ring.cancel(op)
    assert not (op.cancel_requested or ring.need_wait())


def test_cancel_after_the_answer_was_reaped_is_nothing(ring, ops, until):
    op = ops.nop()
    ring.prepare(op)
    until(ring, lambda: not op.in_flight)
    ring.cancel(op)
    assert not ring.need_wait()
    assert op.heard == [(0, False)]


def test_cancel_too_late_leaves_the_answer_as_it_was(ring, ops, until):
    """The answer waits in the queue already; the cancel's own is heard by nobody."""
    op = ops.nop()
    ring.prepare(op)
    ring.enter(False)
    ring.cancel(op)
    until(ring, lambda: not ring.need_wait())
    assert op.heard == [(0, False)]
    assert ring.in_flight() == []


def test_cancel_of_something_that_cannot_wait(ring, ops, until):
    op = ops.nop()
    ring.prepare(op)
    ring.cancel(op)
    until(ring, lambda: not ring.need_wait())
    assert op.heard == [(0, False)]


def test_armed_again_behind_a_cancel_that_found_nothing(ring, ops, pipe, until):
    """The old cancel has the same user_data: it must not end the new request."""
    op = ops.poll(pipe.read, select.POLLIN)
    ring.prepare(op)
    os.write(pipe.write, b"x")
    ring.enter(True)
    ring.cancel(op)
    ring.reap(1)
    assert not op.in_flight
    os.read(pipe.read, 1)
    ring.prepare(op)
    assert not op.cancel_requested
    ring.enter(False)
    ring.reap(10)
    assert op.in_flight
    os.write(pipe.write, b"y")
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(select.POLLIN, False)] * 2


def test_armed_again_by_its_own_end_after_a_cancel(ring, armed, pair, until):
    armed.then = lambda op, res, more: res == ECANCELED and ring.prepare(op)
    ring.cancel(armed)
    until(ring, lambda: armed.heard)
    assert armed.in_flight and not armed.cancel_requested
    pair[1].send(b"still here")
    until(ring, lambda: armed.bytes)
    assert armed.bytes == b"still here"
    armed.then = None


def test_one_of_many_is_cancelled_and_no_other(ring, ops, pipe, until):
    operations = [ops.poll(pipe.read, select.POLLIN) for _ in range(7)]
    for op in operations:
        ring.prepare(op)
    ring.cancel(operations[3])
    until(ring, lambda: not operations[3].in_flight)
    assert [len(op.heard) for op in operations] == [0, 0, 0, 1, 0, 0, 0]
    assert operations[3].heard == [(ECANCELED, False)]


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_cancel_with_data_there_loses_no_byte(ring, armed, pair, until, when):
    """Data, then ECANCELED, or ECANCELED alone with the data left in the socket."""
    sent = b"bytes that must turn up somewhere"
    if when == "before":
        pair[1].send(sent)
    ring.cancel(armed)
    if when == "between":
        pair[1].send(sent)
    ring.enter(False)
    if when == "after":
        pair[1].send(sent)
    until(ring, lambda: not armed.in_flight)
    pair[0].setblocking(False)
    assert armed.bytes + rest_of(pair[0]) == sent
    assert all(more for _, more in armed.heard[:-1])
    last = armed.heard[-1]
    assert last == (ECANCELED, False) or (last[0] > 0 and not last[1])


def rest_of(sock):
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


def test_cancel_while_another_process_sends_loses_no_byte(
        ring, make_pool, ops, pair, until):
    """Arm and cancel over and over under fire; the bytes stay in order."""
    total = 20_000
    op = ops.receive(pair[0].fileno(), make_pool(ring, count=4, most=4))
    # A process: two threads would take turns at the interpreter's lock, for minutes.
    sender = os.fork()
    if sender == 0:
        send_singly(pair[1], total)
    rounds = 0
    while len(op.bytes) < total:
        rounds += 1
        ring.prepare(op)
        if rounds % 3:
            ring.enter(False)
        if rounds < 2_000:
            ring.cancel(op)
        until(ring, lambda: not op.in_flight or len(op.bytes) == total)
    assert os.waitstatus_to_exitcode(os.waitpid(sender, 0)[1]) == 0
    assert op.bytes == bytes(number % 256 for number in range(total))


def send_singly(sock, total):
    """The body of the child: it never returns."""
    try:
        for number in range(total):
            sock.send(bytes([number % 256]))
    finally:
        os._exit(0 if number == total - 1 else 1)


# ---- closing descriptors ----------------------------------------------------


@pytest.mark.io_uring_only("a request in flight holds its file")
def test_a_socket_closed_in_flight_lives_on_until_it_is_cancelled(
        ring, make_pool, ops, until):
    """Why close() comes last: before that the peer sees no end of the stream."""
    pool = make_pool(ring)
    ours, peer = socket.socketpair()
    op = ops.receive(ours.fileno(), pool)
    ring.prepare(op)
    ring.enter(False)
    ours.close()
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    ring.cancel(op)
    until(ring, lambda: not op.in_flight)
    assert peer.recv(1) == b""
    peer.close()


@pytest.mark.epoll_only("a request in flight does not hold its file")
def test_a_socket_closed_in_flight_is_closed_for_the_peer_at_once(
        ring, make_pool, ops, until, has_reason):
    """As on a selector: its operation hears nothing more of it but a cancel."""
    pool = make_pool(ring)
    ours, peer = socket.socketpair()
    op = ops.receive(ours.fileno(), pool)
    ring.prepare(op)
    ring.enter(False)
    ours.close()
    assert peer.recv(1) == b""
    peer.close()
    assert not has_reason(ring)
    ring.enter(False)
    assert (ring.reap(10), op.in_flight) == (0, True)
    ring.cancel(op)
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(ECANCELED, False)]


def test_cancel_is_by_operation_although_the_number_was_reused(
        ring, make_pool, ops, until):
    pool = make_pool(ring, count=4, most=4)
    ours, peer = socket.socketpair()
    number = ours.fileno()
    old = ops.receive(number, pool)
    ring.prepare(old)
    ring.enter(False)
    ours.close()
    second, second_peer = socket.socketpair()
    # Whatever the kernel chose, the new socket gets the old one's number.
    os.dup2(second.fileno(), number)
    ops.forget_fd(ring, number)
    new = ops.receive(number, pool)
    ring.prepare(new)
    ring.enter(False)
    ring.cancel(old)
    until(ring, lambda: not old.in_flight)
    assert (old.heard, new.heard) == ([(ECANCELED, False)], [])
    second_peer.send(b"for the new one")
    until(ring, lambda: new.heard)
    assert new.bytes == b"for the new one"
    if number != second.fileno():
        os.close(number)
    for sock in (peer, second, second_peer):
        sock.close()


@pytest.mark.parametrize("forgotten", ["before the close", "with the new file"])
def test_a_number_that_is_used_again_is_heard_once_the_old_one_is_forgotten(
        ring, make_pool, ops, until, forgotten):
    """An epoll registration outlives its requests: without forget_fd() a new request
    would take it for its own, and wait for ever."""
    pool = make_pool(ring)
    ours, peer = socket.socketpair()
    number = ours.fileno()
    op = ops.receive(number, pool)
    ring.prepare(op)
    ring.cancel(op)
    until(ring, lambda: not op.in_flight)
    second, second_peer = socket.socketpair()
    if forgotten == "before the close":
        ops.forget_fd(ring, number)
    os.dup2(second.fileno(), number)
    if forgotten == "with the new file":
        ops.forget_fd(ring, number)
    ring.prepare(op)
    ring.enter(False)
    second_peer.send(b"for the new one")
    until(ring, lambda: op.bytes)
    assert op.bytes == b"for the new one"
    for sock in (ours, peer, second, second_peer):
        sock.close()


@pytest.mark.io_uring_only("accept is no operation of the epoll driver's")
@pytest.mark.usefixtures("multishot_accept")
def test_a_listener_refuses_only_after_its_accept_has_ended(ring, ops, until):
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    op = ops.accept(listener.fileno())
    ring.prepare(op)
    ring.enter(False)
    ring.cancel(op)
    until(ring, lambda: not op.in_flight)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
