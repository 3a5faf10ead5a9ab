"""Restricted rings: what the kernel refuses, from raw entries."""

import errno
import threading

import pytest

import uring_loop
from uring_loop.driver.ring import Ring

from .conftest import ENTER_LIMIT_NS
from .test_permission import forbid

pytestmark = pytest.mark.io_uring_only("restrictions are the kernel's")

# Numbers of the kernel's ABI; tests/ring/test_abi.py compares the header's own.
SOCKET_OPS = {
    "NOP": 0, "POLL_ADD": 6, "RECVMSG": 10, "ASYNC_CANCEL": 14, "READ": 22, "RECV": 27}
FILE_OPS = {
    "FSYNC": 3, "FALLOCATE": 17, "OPENAT": 18, "CLOSE": 19, "STATX": 21, "WRITE": 23,
    "RENAMEAT": 35, "UNLINKAT": 36, "MKDIRAT": 37, "SYMLINKAT": 38, "LINKAT": 39,
    "FTRUNCATE": 55}
# What code that has taken over a process would like most.
WANTED_OPS = {"TIMEOUT": 11, "CONNECT": 16, "OPENAT2": 28, "SEND": 26, "SPLICE": 30,
              "SOCKET": 45}
REGISTRATIONS = {"EVENTFD": 4, "UNREGISTER_EVENTFD": 5, "ENABLE_RINGS": 12,
                 "PBUF_RING": 22}
REGISTER_RESTRICTIONS = 11
SKIP_SUCCESS = 1 << 6
BUFFER_SELECT = 1 << 5
# FIXED_FILE, IO_DRAIN, IO_LINK, IO_HARDLINK, ASYNC.
OTHER_FLAGS = [1 << bit for bit in range(5)]

allowed = pytest.mark.parametrize("restrict, names", [
    (True, SOCKET_OPS), ("files", SOCKET_OPS | FILE_OPS)], ids=["sockets", "files"])


def answer(ring, op):
    ring.prepare(op)
    while not op.heard:
        ring.enter(True, ENTER_LIMIT_NS)
        ring.reap(10)
    return op.heard[-1][0]


@allowed
def test_just_the_operations_of_the_loop_are_served(make_ring, ops, restrict, names):
    unrestricted = make_ring()
    ring = make_ring(restrict=restrict)
    assert ring.restricted == restrict and unrestricted.restricted is False
    known = set(filter(unrestricted.has_opcode, range(256)))
    served = {opcode for opcode in known
              if answer(ring, ops.raw(opcode)) != -errno.EACCES}
    assert served == known & set(names.values())
    assert set(filter(ring.has_opcode, range(256))) == served


@pytest.mark.parametrize("name", WANTED_OPS)
def test_other_rings_serve_what_is_refused_here(make_ring, ops, name):
    opcode = WANTED_OPS[name]
    ring = make_ring()
    if not ring.has_opcode(opcode):
        pytest.skip(f"this kernel has no {name}")
    assert answer(ring, ops.raw(opcode)) != -errno.EACCES
    assert answer(make_ring(restrict="files"), ops.raw(opcode)) == -errno.EACCES


@allowed
def test_just_the_flags_of_the_loop_are_served(make_ring, ops, restrict, names):
    ring, unrestricted = make_ring(restrict=restrict), make_ring()
    read = SOCKET_OPS["READ"]
    for flags in (0, SKIP_SUCCESS, BUFFER_SELECT):
        assert answer(ring, ops.raw(read, flags)) != -errno.EACCES
    for flags in OTHER_FLAGS:
        for more in (0, SKIP_SUCCESS):
            heard = answer(ring, ops.raw(read, flags | more))
            if answer(unrestricted, ops.raw(read, flags | more)) == -errno.EINVAL:
                # A flag that this kernel does not know.
                assert heard == -errno.EINVAL
            else:
                # IO_DRAIN is EOPNOTSUPP after an entry with CQE_SKIP_SUCCESS.
                assert heard in (-errno.EACCES, -errno.EOPNOTSUPP)


@allowed
def test_just_the_registrations_of_the_loop_are_served(
        make_ring, ops, restrict, names):
    ring = make_ring(restrict=restrict)
    beyond = [-errno.EACCES, -errno.EINVAL]
    for number in range(40):
        if number in REGISTRATIONS.values():
            assert ops.raw_register(ring, number) != -errno.EACCES
        else:
            # EINVAL: the kernel knows no registration of this number.
            assert ops.raw_register(ring, number) in beyond
    # Buffers, files, probe, more restrictions.
    for number in (0, 2, 8, 11):
        assert ops.raw_register(ring, number) == -errno.EACCES


def test_a_ring_is_restricted_on_each_rung_of_the_ladder(make_ring, ops, modes):
    for mode, options in modes.items():
        if mode != "epoll":
            ring = make_ring(restrict=True, **options)
            assert answer(ring, ops.raw(FILE_OPS["OPENAT"])) == -errno.EACCES


def test_a_ring_that_is_enabled_later_is_restricted(make_ring, ops):
    ring = make_ring(restrict=True, disabled=True)
    assert not ring.enabled
    ring.enable()
    assert answer(ring, ops.raw(FILE_OPS["OPENAT"])) == -errno.EACCES


# ---- loops --------------------------------------------------------------------------


@pytest.fixture
def make_loop(io_uring, no_leaks):
    loops = []

    def make(**options):
        loops.append(uring_loop.Loop(backend="io_uring", **options))
        return loops[-1]

    yield make
    while loops:
        loops.pop().close()


async def ask(loop, ops, opcode):
    """What the loop's ring answers to an entry that is not the loop's own."""
    ended = loop.create_future()
    op = ops.raw(opcode)
    op.then = lambda op, res, more: ended.set_result(res)
    loop.prepare(op)
    return await ended


@pytest.mark.parametrize("restrict", [False, True, "files"])
def test_the_loops_ring_is_restricted_as_asked(make_loop, ops, restrict):
    loop = make_loop(restrict=restrict)
    assert loop.ring_restricted == restrict
    for opcode, refusing in ((FILE_OPS["OPENAT"], (True,)),
                             (WANTED_OPS["CONNECT"], (True, "files"))):
        answered = loop.run_until_complete(ask(loop, ops, opcode))
        assert (answered == -errno.EACCES) == (restrict in refusing)


def test_a_loop_that_has_moved_is_still_restricted(make_loop, ops):
    loop = make_loop(restrict=True)
    results = [loop.run_until_complete(ask(loop, ops, FILE_OPS["OPENAT"]))]
    thread = threading.Thread(target=lambda: results.append(
        loop.run_until_complete(ask(loop, ops, FILE_OPS["OPENAT"]))))
    thread.start()
    thread.join()
    assert results == [-errno.EACCES] * 2


def test_restrictions_that_the_kernel_refuses_are_an_error(io_uring, ops, in_child):
    """A ring that was to be restricted and is not must not be used."""

    def refused():
        forbid(ops.SYS_REGISTER, errno.EPERM, REGISTER_RESTRICTIONS)
        found = []
        for restrict in (False, True):
            try:
                Ring(restrict=restrict).close()
                found.append("made")
            except OSError as exc:
                found.append(exc.errno)
        loop = uring_loop.Loop(restrict=True)
        found.append((loop.backend, loop.ring_restricted))
        loop.close()
        return found

    assert in_child(refused) == ["made", errno.EPERM, ("epoll", False)]
