"""How a ring comes to be: the flag ladder, disabled rings, memory, permission."""

import ctypes
import errno
import os
import resource
import select
import struct
import threading

import pytest

from uring_loop.driver.buffer_pool import BufferPool
from uring_loop.driver.ring import Ring

from .conftest import ENTER_LIMIT_NS

BEFORE_ADVICE = "EINVAL from this kernel (needs Linux "


def works(ring, ops):
    """Does it carry an operation from end to end?"""
    op = ops.nop()
    ring.prepare(op)
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    return op.heard == [(0, False)]


# ---- the ladder -------------------------------------------------------------

# The top rung as far as this kernel has it, then what each older kernel would grant.
RUNGS = (
    ("before 6.6", ("NO_SQARRAY",),
     {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER", "DEFER_TASKRUN"},
     {"NO_SQARRAY": "6.6"}),
    ("before 6.1", ("NO_SQARRAY", "DEFER_TASKRUN"),
     {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER", "COOP_TASKRUN"},
     {"NO_SQARRAY": "6.6", "DEFER_TASKRUN": "6.1"}),
    ("before 6.0", ("NO_SQARRAY", "DEFER_TASKRUN", "SINGLE_ISSUER"),
     {"SUBMIT_ALL", "TASKRUN_FLAG", "COOP_TASKRUN"},
     {"NO_SQARRAY": "6.6", "DEFER_TASKRUN": "6.1", "SINGLE_ISSUER": "6.0"}),
    ("before 5.19",
     ("NO_SQARRAY", "DEFER_TASKRUN", "SINGLE_ISSUER", "COOP_TASKRUN", "TASKRUN_FLAG"),
     {"SUBMIT_ALL"},
     {"NO_SQARRAY": "6.6", "DEFER_TASKRUN": "6.1", "SINGLE_ISSUER": "6.0",
      "COOP_TASKRUN|TASKRUN_FLAG": "5.19"}),
    ("before 5.18",
     ("NO_SQARRAY", "DEFER_TASKRUN", "SINGLE_ISSUER", "COOP_TASKRUN", "TASKRUN_FLAG",
      "SUBMIT_ALL"),
     set(),
     {"NO_SQARRAY": "6.6", "DEFER_TASKRUN": "6.1", "SINGLE_ISSUER": "6.0",
      "COOP_TASKRUN|TASKRUN_FLAG": "5.19", "SUBMIT_ALL": "5.18"}),
)


def mask_without(ops, names):
    mask = 0xFFFFFFFF
    for name in names:
        mask &= ~getattr(ops, name)
    return mask


def granted(ring):
    return set(ring.flag_names) - {"CQSIZE", "CLAMP"}


@pytest.mark.parametrize(
    "unknown, flags, refused", [rung[1:] for rung in RUNGS], ids=[r[0] for r in RUNGS])
def test_a_kernel_that_lacks_flags_gets_fewer(make_ring, ops, unknown, flags, refused):
    ring = make_ring(known_flags=mask_without(ops, unknown))
    assert granted(ring) == flags
    assert ring.refused == {
        name: f"{BEFORE_ADVICE}{version})" for name, version in refused.items()}
    assert works(ring, ops)


def test_the_newest_kernels_refuse_nothing(make_ring, ops):
    """All flags, or a ladder step for each that this kernel does not have."""
    ring = make_ring()
    if not ring.refused:
        assert granted(ring) == {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER",
                                 "DEFER_TASKRUN", "NO_SQARRAY"}
    for name in ring.refused:
        assert not set(name.split("|")) <= granted(ring)
    assert works(ring, ops)


def test_coop_is_the_set_of_the_qemu_series(make_ring, ops):
    ring = make_ring(taskrun="coop")
    if ring.refused:
        pytest.skip(f"not on this kernel: {ring.refused}")
    assert granted(ring) == {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER",
                             "COOP_TASKRUN", "NO_SQARRAY"}
    assert works(ring, ops)


def test_coop_below_6_6_is_not_told_about_defer(make_ring, ops):
    ring = make_ring(taskrun="coop", known_flags=mask_without(ops, ["NO_SQARRAY"]))
    assert list(ring.refused) == ["NO_SQARRAY"]
    assert "COOP_TASKRUN" in ring.flag_names


def test_flags_are_those_that_flag_names_spell(make_ring, ops):
    ring = make_ring(disabled=True)
    assert ring.flags == sum(getattr(ops, name) for name in ring.flag_names)
    assert ring.flags & ops.R_DISABLED


def test_a_kernel_without_any_flag_that_we_need_is_an_error(io_uring, no_leaks):
    """CQSIZE and CLAMP (5.6) are no rung: such a kernel lacks EXT_ARG too."""
    with pytest.raises(OSError) as caught:
        Ring(known_flags=0)
    assert caught.value.errno == errno.EINVAL


# ---- sizes and arguments ----------------------------------------------------


def test_the_completion_queue_is_four_times_as_long_by_default(make_ring):
    ring = make_ring(sq_entries=16, cq_entries=0)
    assert (ring.sq_entries, ring.cq_entries) == (16, 64)


def test_sizes_are_rounded_up_and_clamped_by_the_kernel(make_ring):
    ring = make_ring(sq_entries=5, cq_entries=9)
    assert (ring.sq_entries, ring.cq_entries) == (8, 16)
    assert make_ring(sq_entries=1 << 20, cq_entries=1 << 20).sq_entries == 32768


@pytest.mark.parametrize("options, error", [
    ({"sq_entries": 0}, OSError),
    ({"sq_entries": 64, "cq_entries": 8}, OSError),
    ({"sq_entries": -1}, OverflowError),
    ({"sq_entries": "8"}, TypeError),
    ({"taskrun": 1}, TypeError),
    ({"taskrun": "sometimes"}, ValueError),
    ({"taskrun": None}, (TypeError, ValueError)),
    ({"sq_poll": True}, TypeError),
])
def test_bad_options_are_refused(io_uring, no_leaks, options, error):
    with pytest.raises(error):
        Ring(**options)


@pytest.mark.parametrize("options", [
    {"most": 3}, {"most": 65536}, {"count": 1, "most": 4, "buffer_bytes": -1}])
def test_a_pool_of_a_bad_size_is_refused(make_ring, options):
    ring = make_ring()
    with pytest.raises((OSError, OverflowError)):
        BufferPool(ring, **options)
    with pytest.raises(TypeError):
        BufferPool(None)


def test_repr_tells_the_state(make_ring, ops):
    ring = make_ring(disabled=True)
    assert repr(ring).startswith("<Ring disabled ")
    ring.enable()
    op = ops.nop()
    assert repr(op) == "<Recorded idle>"
    ring.prepare(op)
    assert repr(ring).startswith("<Ring enabled ") and "1 in flight" in repr(ring)
    ring.cancel(op)
    assert repr(op) == "<Recorded in flight, cancel requested>"
    ring.close()
    assert repr(ring).startswith("<Ring closed ")


# ---- disabled rings ---------------------------------------------------------


@pytest.mark.parametrize("taskrun", ["defer", "coop"])
def test_nothing_is_submitted_before_enable(make_ring, make_pool, ops, pair, taskrun):
    ring = make_ring(taskrun=taskrun, disabled=True)
    assert (ring.enabled, ring.owner) == (False, 0)
    # Registering is allowed: the loop makes its pool before it runs.
    op = ops.receive(pair[0].fileno(), make_pool(ring))
    ring.prepare(op)
    pair[1].send(b"early")
    for wait in (False, True):
        with pytest.raises(OSError) as caught:
            ring.enter(wait, 0)
        assert caught.value.errno == errno.EBADFD
    assert op.heard == [] and op.in_flight and ring.need_wait()
    ring.enable()
    assert ring.enabled and ring.owner != 0
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    assert op.bytes == b"early"


def test_the_thread_that_enables_is_the_issuer(make_ring, ops):
    ring = make_ring(disabled=True)
    outcome = []

    def enable_and_use():
        ring.enable()
        outcome.append(works(ring, ops))

    thread = threading.Thread(target=enable_and_use)
    thread.start()
    thread.join()
    assert outcome == [True]
    with pytest.raises(RuntimeError, match="belongs to another thread"):
        ring.enter(False)


def test_enable_twice_is_once(make_ring, ops):
    ring = make_ring(disabled=True)
    ring.enable()
    ring.enable()
    assert works(ring, ops)


def test_a_disabled_ring_closes_with_what_was_prepared(make_ring, ops):
    """Never submitted: nothing to wait for, nothing the kernel could still touch."""
    ring = make_ring(disabled=True)
    op = ops.nop()
    ring.prepare(op)
    ring.close()
    assert (op.in_flight, ring.in_flight_count) == (False, 0)


def test_restrictions_are_set_before_enable(make_ring, ops, pipe):
    ring = make_ring(disabled=True)
    assert ops.allow_only_nop(ring) == 0
    ring.enable()
    allowed, forbidden = ops.nop(), ops.poll(pipe.read, select.POLLIN)
    ring.prepare(allowed)
    ring.prepare(forbidden)
    ring.enter(True, ENTER_LIMIT_NS)
    ring.reap(10)
    assert allowed.heard == [(0, False)]
    assert forbidden.heard == [(-errno.EACCES, False)]


# ---- memory and permission --------------------------------------------------


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


@needs_root
def test_enomem_is_retried_with_a_smaller_ring(io_uring, ops, in_child):
    def big_ring():
        as_nobody(64 * 1024)
        ring = Ring(sq_entries=4096)
        return ring.sq_entries, ring.cq_entries, works(ring, ops), ring.close()

    sq_entries, cq_entries, good, left = in_child(big_ring)
    assert 8 <= sq_entries < 4096 and cq_entries >= 2 * sq_entries
    assert good and left == []


@needs_root
def test_no_memory_at_all_is_enomem(io_uring, in_child):
    def no_ring():
        as_nobody(0)
        try:
            Ring(sq_entries=256)
        except OSError as error:
            return error.errno

    assert in_child(no_ring) == errno.ENOMEM


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


PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
BPF_LOAD, BPF_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06


def forbid(number, code):
    """A seccomp filter, as containers have it: this system call fails with `code`."""
    instructions = b"".join(struct.pack("HBBI", *fields) for fields in (
        (BPF_LOAD, 0, 0, 0), (BPF_EQUAL, 0, 1, number),
        (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | code),
        (BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW)))
    memory = ctypes.create_string_buffer(instructions)
    program = struct.pack("H6xP", len(instructions) // 8, ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0


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


def test_nothing_is_left_of_a_ring_that_could_not_be_probed(io_uring, ops, in_child):
    """A filter that lets set-up pass and stops what comes after it."""

    def refused():
        forbid(ops.SYS_REGISTER, errno.EPERM)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(PermissionError):
            Ring()
        return before == os.listdir("/proc/self/fd")

    assert in_child(refused)


def test_a_forbidden_enter_is_reported_as_it_is(io_uring, ops, in_child):
    def refused():
        ring = Ring()
        forbid(ops.SYS_ENTER, errno.EPERM)
        ring.prepare(ops.nop())
        with pytest.raises(PermissionError):
            ring.enter(True)
        return len(ring.abandon())

    assert in_child(refused) == 1
