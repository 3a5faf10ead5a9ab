"""Receiving: pools that run dry, buffers used again, and every way a stream ends."""

import errno
import os
import select
import socket
import struct

import pytest

from .conftest import ENTER_LIMIT_NS

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# As much as the pool of a `stream` holds.
SENT = b"two full buffers of sixteen byte"


def arm(ring, op):
    """Submit at once: what is there already is heard now."""
    ring.prepare(op)
    ring.enter(False)
    ring.reap(100)
    return op


def arm_again_until_end(ring):
    """What a stream does: go on after ENOBUFS and overflow, stop at the end."""

    def again(op, res, more):
        if not more and (res > 0 or res == -errno.ENOBUFS):
            ring.prepare(op)

    return again


# ---- small pools ------------------------------------------------------------


def test_data_that_is_there_is_heard_in_the_submitting_enter(
        ring, make_pool, ops, pair):
    pair[1].send(b"first")
    op = arm(ring, ops.receive(pair[0].fileno(), make_pool(ring)))
    assert (op.bytes, op.in_flight) == (b"first", True)


@pytest.mark.io_uring_only("on epoll the end waits for data to be there")
@pytest.mark.parametrize("count", [1, 2])
def test_a_dry_pool_ends_the_operation_and_keeps_the_bytes(
        ring, make_pool, ops, pair, count):
    """The end says ENOBUFS; the rest waits in the socket for the next arming."""
    pool = make_pool(ring, count=count, most=2, buffer_bytes=4)
    sent = bytes(range(102))
    pair[1].send(sent)
    op = ops.receive(pair[0].fileno(), pool)
    op.hold = True
    arm(ring, op)
    got = b""
    while not op.in_flight:
        assert op.heard[-1] == (-errno.ENOBUFS, False)
        assert len(op.held) == count
        got += op.take_held()
        # Giving back does not revive it.
        ring.enter(False)
        assert (ring.reap(10), op.in_flight) == (0, False)
        arm(ring, op)
    assert got + op.take_held() == sent


@pytest.mark.epoll_only("the kernel ends the operation with the last buffer")
@pytest.mark.parametrize("count", [1, 2])
def test_a_dry_pool_ends_the_operation_when_data_come_and_keeps_the_bytes(
        ring, make_pool, ops, pair, count, until):
    """With ENOBUFS; the bytes wait in the socket for the next arming."""
    pool = make_pool(ring, count=count, most=2, buffer_bytes=4)
    op = ops.receive(pair[0].fileno(), pool)
    op.hold = True
    arm(ring, op)
    sent = bytes(range(4 * count))
    pair[1].send(sent)
    until(ring, lambda: len(op.held) == count)
    # All buffers are taken, and nothing is there that would need one more.
    ring.enter(False)
    assert (ring.reap(10), op.in_flight) == (0, True)
    pair[1].send(b"more")
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(4, True)] * count + [(-errno.ENOBUFS, False)]
    assert op.take_held() == sent
    # Giving back does not revive it.
    ring.enter(False)
    assert (ring.reap(10), op.in_flight) == (0, False)
    arm(ring, op)
    assert op.take_held() == b"more"


@pytest.mark.epoll_only("the kernel ends the operation with the last buffer")
def test_buffers_given_back_in_time_keep_an_operation_armed(
        ring, make_pool, ops, pair, until):
    pool = make_pool(ring, count=1, most=1, buffer_bytes=4)
    op = arm(ring, ops.receive(pair[0].fileno(), pool))
    op.hold = True
    for number in range(5):
        pair[1].send(bytes([number]) * 4)
        until(ring, lambda: op.held)
        assert op.take_held() == bytes([number]) * 4
    assert op.heard == [(4, True)] * 5


def test_buffers_given_back_at_once_let_a_pool_of_one_go_on(
        ring, make_pool, ops, pair, until):
    pool = make_pool(ring, count=1, most=1, buffer_bytes=3)
    op = ops.receive(pair[0].fileno(), pool)
    op.then = arm_again_until_end(ring)
    sent = os.urandom(5000)
    pair[1].send(sent)
    pair[1].shutdown(socket.SHUT_WR)
    ring.prepare(op)
    until(ring, lambda: not op.in_flight)
    assert op.bytes == sent
    assert op.heard[-1] == (0, False)


def test_an_empty_pool_is_enobufs(ring, make_pool, ops, pair):
    pool = make_pool(ring, count=0, most=4)
    pair[1].send(b"x")
    op = arm(ring, ops.receive(pair[0].fileno(), pool))
    assert op.heard == [(-errno.ENOBUFS, False)]
    assert pool.grow()
    assert arm(ring, op).bytes == b"x"


def test_a_pool_grows_by_one_up_to_its_most(
        ring, make_pool, ops, pair, until, record_property):
    pool = make_pool(ring, count=1, most=8, buffer_bytes=4)
    op = ops.receive(pair[0].fileno(), pool)
    grown = []

    def grow(operation, res, more):
        if res == -errno.ENOBUFS:
            grown.append(pool.grow())
            ring.prepare(operation)

    op.then, op.hold = grow, True
    sent = bytes(range(32))
    pair[1].send(sent)
    ring.prepare(op)
    until(ring, lambda: len(op.held) == 8)
    # Up to Linux 6.12 the last buffer itself ends the request.
    record_property("ENOBUFS with the last buffer", grown[7:] == [False])
    assert (grown[:7], pool.count) == ([True] * 7, 8)
    op.then = None
    pair[1].send(b"more")
    until(ring, lambda: not op.in_flight)
    assert op.heard[-1] == (-errno.ENOBUFS, False)
    assert (pool.grow(), pool.count) == (False, 8)
    assert op.take_held() == sent
    assert arm(ring, op).in_flight and op.take_held() == b"more"


def test_many_sockets_share_one_dry_pool(ring, make_pool, ops, until):
    """Each keeps its own bytes in order, however the buffers are handed round."""
    pool = make_pool(ring, count=2, most=2, buffer_bytes=5)
    pairs = [socket.socketpair() for _ in range(6)]
    operations = []
    for number, (ours, peer) in enumerate(pairs):
        op = ops.receive(ours.fileno(), pool)
        op.then = arm_again_until_end(ring)
        ring.prepare(op)
        operations.append(op)
        peer.send(bytes([number]) * 500)
        peer.shutdown(socket.SHUT_WR)
    until(ring, lambda: ring.in_flight_count == 0)
    for number, (op, ends) in enumerate(zip(operations, pairs)):
        assert op.bytes == bytes([number]) * 500
        for end in ends:
            end.close()


def test_buffers_are_used_again_past_the_sixteen_bits_of_the_tail(
        ring, make_pool, ops):
    pool = make_pool(ring, count=3, most=4, buffer_bytes=8)
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, peer:
        op = arm(ring, ops.receive(ours.fileno(), pool))
        for number in range(66_000):
            peer.send(number.to_bytes(8, "little"))
            ring.enter(True, ENTER_LIMIT_NS)
            ring.reap(10)
            if not op.in_flight:
                pytest.fail(f"ended by {op.heard[-1]} at {number}")
        numbers = [int.from_bytes(data, "little") for data in op.data]
        assert numbers == list(range(66_000))
        # 3 provided at first, one given back for each; seen modulo 65,536.
        assert ops.tail(pool) == (3 + 66_000) % 65_536
        assert op.heard == [(8, True)] * 66_000


def test_two_pools_do_not_mix(ring, make_pool, ops, pair):
    small = make_pool(ring, buffer_bytes=2, count=1, most=1, group=1)
    large = make_pool(ring, buffer_bytes=64, count=1, most=1, group=7)
    assert (small.group, large.group) == (1, 7)
    op = arm(ring, ops.receive(pair[0].fileno(), large))
    other = arm(ring, ops.receive(pair[1].fileno(), small))
    pair[1].send(b"for the large one")
    pair[0].send(b"12")
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    assert (op.bytes, other.bytes) == (b"for the large one", b"12")


def test_a_group_is_taken_until_it_is_unregistered(ring, make_pool, ops):
    pool = make_pool(ring)
    with pytest.raises(FileExistsError):
        make_pool(ring)
    assert ops.unregister_pool(ring, pool) == 0
    assert ops.unregister_pool(ring, pool) < 0
    assert make_pool(ring).count == 2


# ---- the end of a stream ----------------------------------------------------


@pytest.fixture
def stream(ring, make_pool, ops, tcp_pair):
    """An armed receive on a TCP connection, into buffers of 16 bytes."""
    pool = make_pool(ring, count=2, most=2)
    return arm(ring, ops.receive(tcp_pair[0].fileno(), pool))


def test_eof_is_zero_and_the_last(ring, stream, tcp_pair, until):
    tcp_pair[1].close()
    until(ring, lambda: not stream.in_flight)
    assert stream.heard == [(0, False)]


def test_data_and_eof_are_heard_in_this_order(ring, stream, tcp_pair, until):
    tcp_pair[1].send(b"last words")
    tcp_pair[1].close()
    until(ring, lambda: not stream.in_flight)
    assert stream.bytes == b"last words"
    assert stream.heard[-1] == (0, False)


def test_eof_behind_a_dry_pool_is_heard_after_arming_again(
        ring, stream, tcp_pair, until):
    """The kernel asks for a buffer before it knows that there is nothing to read."""
    stream.hold = True
    tcp_pair[1].send(SENT)
    until(ring, lambda: len(stream.held) == 2)
    tcp_pair[1].close()
    until(ring, lambda: not stream.in_flight)
    assert stream.take_held() == SENT
    if stream.heard[-1][0] == -errno.ENOBUFS:
        ring.prepare(stream)
        until(ring, lambda: not stream.in_flight)
    assert stream.heard[-1] == (0, False)


def test_a_reset_is_an_error_and_the_last(ring, stream, tcp_pair, until):
    reset(tcp_pair[1])
    until(ring, lambda: not stream.in_flight)
    assert stream.heard == [(-errno.ECONNRESET, False)]


def test_a_reset_behind_a_dry_pool_is_heard_after_arming_again(
        ring, stream, tcp_pair, until):
    """ENOBUFS hides the reset; whoever arms again meets it, no byte before it lost."""
    stream.hold = True
    tcp_pair[1].send(SENT)
    until(ring, lambda: len(stream.held) == 2)
    reset(tcp_pair[1])
    until(ring, lambda: not stream.in_flight)
    assert stream.heard[-1][0] in (-errno.ENOBUFS, -errno.ECONNRESET)
    assert stream.take_held() == SENT
    if stream.heard[-1][0] == -errno.ENOBUFS:
        ring.prepare(stream)
        until(ring, lambda: not stream.in_flight)
    assert stream.heard[-1] == (-errno.ECONNRESET, False)


def test_a_local_shutdown_ends_like_eof(ring, stream, tcp_pair, until):
    tcp_pair[0].shutdown(socket.SHUT_RD)
    until(ring, lambda: not stream.in_flight)
    assert stream.heard == [(0, False)]


def reset(sock):
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


# ---- other operations -------------------------------------------------------


def test_a_receive_into_own_memory(ring, ops, pair, until):
    op = arm(ring, ops.receive_into(pair[0].fileno(), 16))
    pair[1].send(b"own memory")
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(10, False)]
    assert bytes(op.memory) == b"own memory".ljust(16, b"\0")


def test_a_read_of_an_empty_nonblocking_pipe_stays_in_flight(ring, ops, pipe, until):
    """No EAGAIN: the kernel polls for us, whatever O_NONBLOCK says."""
    os.set_blocking(pipe.read, False)
    op = arm(ring, ops.read(pipe.read, 8))
    assert (op.heard, op.in_flight) == ([], True)
    os.write(pipe.write, b"word")
    until(ring, lambda: not op.in_flight)
    assert (op.heard, op.memory[:4]) == ([(4, False)], b"word")


def test_a_read_of_an_eventfd_hears_the_sum(ring, ops, until):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    op = arm(ring, ops.read(fd, 8))
    os.eventfd_write(fd, 40)
    until(ring, lambda: not op.in_flight)
    assert op.heard == [(8, False)]
    assert int.from_bytes(op.memory, "little") == 40
    os.close(fd)


def test_a_poll_is_level_and_once(ring, ops, pipe):
    os.write(pipe.write, b"unread")
    op = ops.poll(pipe.read, select.POLLIN)
    for count in (1, 2):
        arm(ring, op)
        assert op.heard == [(select.POLLIN, False)] * count


def test_a_poll_hears_of_a_hang_up(ring, ops, pair, until):
    op = arm(ring, ops.poll(pair[0].fileno(), select.POLLIN | select.POLLRDHUP))
    pair[1].close()
    until(ring, lambda: not op.in_flight)
    assert op.heard[0][0] & select.POLLRDHUP


@pytest.mark.io_uring_only("accept is no operation of the epoll driver's")
@pytest.mark.usefixtures("multishot_accept")
def test_accept_goes_on_for_every_connection(ring, ops, until):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        op = arm(ring, ops.accept(listener.fileno()))
        peers = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        until(ring, lambda: len(op.heard) == 5)
        assert all(res >= 0 and more for res, more in op.heard)
        for res, _ in op.heard:
            os.close(res)
        ring.cancel(op)
        until(ring, lambda: not op.in_flight)
        assert op.heard[-1] == (-errno.ECANCELED, False)
        for peer in peers:
            peer.close()


@pytest.mark.epoll_only("io_uring has the operation")
def test_what_the_epoll_driver_does_not_know_is_refused(ring, ops, pair, until):
    """And has_opcode() has said so before."""
    assert not ring.has_opcode(ops.OP_ACCEPT)
    op = arm(ring, ops.accept(pair[0].fileno()))
    assert op.heard == [(-errno.EINVAL, False)]


@pytest.mark.io_uring_only("accept is no operation of the epoll driver's")
@pytest.mark.usefixtures("multishot_accept")
def test_accept_without_descriptors_ends_and_can_be_armed_again(
        io_uring, ops, in_child):
    in_child(lambda: accept_without_descriptors(ops))


def accept_without_descriptors(ops):
    """In a child: EMFILE ends the accept; the connection waits in the backlog."""
    import resource

    from uring_loop.driver.ring import Ring

    ring = Ring(sq_entries=8)
    listener = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(listener.getsockname())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    op = arm(ring, ops.accept(listener.fileno()))
    assert op.heard == [(-errno.EMFILE, False)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
    arm(ring, op)
    assert op.heard[1] == (lowest_free, True)
    assert socket.socket(fileno=lowest_free).getpeername() == peer.getsockname()
    assert ring.close() == []
