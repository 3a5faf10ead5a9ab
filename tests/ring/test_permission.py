"""What a ring needs of the system: locked memory, descriptors, permitted calls."""

import errno
import os
import resource
import time

import pytest

from uring_loop.driver.ring import Ring

from ..kit_seccomp import forbid
from .conftest import ENTER_LIMIT_NS, run_in_child
from .test_setup import works

permission = pytest.mark.io_uring_only("io_uring's memory and system calls")


def as_nobody(locked_bytes):
    """In a child: an ordinary user under RLIMIT_MEMLOCK, as in a container. One that
    nobody else is: what a user has locked is counted over all processes."""
    user = 0x40000000 + os.getpid()
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked_bytes, locked_bytes))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="must be root to become nobody")


@pytest.fixture
def memory_is_counted(io_uring):
    """Linux 6.16 and 6.18 count a ring's memory; 5.10, 6.1, 6.12, 7.2, 7.3 do not."""
    def is_refused():
        as_nobody(0)
        try:
            Ring(sq_entries=8).close()
        except OSError as error:
            return error.errno == errno.ENOMEM

    if not run_in_child(is_refused):
        pytest.skip("this kernel does not count a ring's memory as locked")


@permission
@needs_root
def test_enomem_is_retried_with_a_smaller_ring(memory_is_counted, ops, in_child):
    def big_ring():
        as_nobody(64 * 1024)
        ring = Ring(sq_entries=4096)
        return ring.sq_entries, ring.cq_entries, works(ring, ops), ring.close()

    sq_entries, cq_entries, good, left = in_child(big_ring)
    assert 8 <= sq_entries < 4096 and cq_entries >= 2 * sq_entries
    assert good and left == []


@permission
@needs_root
def test_no_memory_at_all_is_enomem(memory_is_counted, in_child):
    def no_ring():
        as_nobody(0)
        try:
            Ring(sq_entries=256)
        except OSError as error:
            return error.errno

    assert in_child(no_ring) == errno.ENOMEM


@permission
@needs_root
@pytest.mark.parametrize("sq_entries", [8, 256])
def test_rings_made_and_closed_in_turn_outlive_the_late_memory(
        io_uring, ops, in_child, sq_entries):
    """A closed ring's memory is given back up to 20 ms late: each test has a loop."""

    def make_many():
        as_nobody(64 * 1024)
        for _ in range(40):
            ring = Ring(sq_entries=sq_entries)
            assert works(ring, ops)
            ring.close()

    in_child(make_many)


SYS_EPOLL_PWAIT2 = 441


@permission
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_a_forbidden_system_call_is_reported_as_it_is(io_uring, ops, in_child, code):
    """Not taken for a missing flag, and not tried again."""

    def refused():
        forbid(ops.SYS_SETUP, code)
        try:
            Ring()
        except OSError as error:
            return error.errno, isinstance(error, PermissionError)

    assert in_child(refused) == (code, code == errno.EPERM)


@permission
def test_nothing_is_left_of_a_ring_that_could_not_be_probed(io_uring, ops, in_child):
    """A filter that lets set-up pass and stops what comes after it."""

    def refused():
        forbid(ops.SYS_REGISTER, errno.EPERM)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(PermissionError):
            Ring()
        return before == os.listdir("/proc/self/fd")

    assert in_child(refused)


@permission
def test_a_forbidden_enter_is_reported_as_it_is(io_uring, ops, in_child):
    def refused():
        ring = Ring()
        forbid(ops.SYS_ENTER, errno.EPERM)
        ring.prepare(ops.nop())
        with pytest.raises(PermissionError):
            ring.enter(True)
        return len(ring.abandon())

    assert in_child(refused) == 1


@pytest.mark.epoll_only("io_uring needs its system calls")
def test_an_epoll_ring_needs_none_of_io_urings_system_calls(
        options, ops, make_pool, in_child):
    def use():
        for number in (ops.SYS_SETUP, ops.SYS_ENTER, ops.SYS_REGISTER):
            forbid(number, errno.EPERM)
        ring = Ring(sq_entries=8, **options)
        make_pool(ring)
        return works(ring, ops), ring.close()

    assert in_child(use) == (True, [])


@pytest.mark.epoll_only("io_uring_setup() makes io_uring's descriptor")
def test_an_epoll_ring_without_a_descriptor_is_an_error(options, no_leaks, in_child):
    def no_descriptor():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            Ring(**options)
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            return error.errno

    assert in_child(no_descriptor) == errno.EMFILE


@pytest.mark.epoll_only("epoll_pwait2() is its own")
def test_an_epoll_ring_where_epoll_pwait2_is_forbidden(options, ops, pipe, in_child):
    """As under seccomp filters that are older than it: to the millisecond then."""

    def use():
        forbid(SYS_EPOLL_PWAIT2, errno.EPERM)
        ring = Ring(sq_entries=8, **options)
        op = ops.read(pipe.read, 8)
        ring.prepare(op)
        start = time.monotonic_ns()
        ring.enter(True, 1_500_000)
        early = time.monotonic_ns() - start < 1_500_000
        os.write(pipe.write, b"x")
        ring.enter(True, ENTER_LIMIT_NS)
        ring.reap(10)
        return early, op.heard, ring.close()

    assert in_child(use) == (False, [(1, False)], [])
