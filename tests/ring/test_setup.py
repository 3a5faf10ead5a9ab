"""How a ring comes to be: the flag ladder, sizes, options, disabled rings."""

import errno
import select
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


ladder = pytest.mark.io_uring_only("flags of set-up are the kernel's")
disabled = pytest.mark.io_uring_only("R_DISABLED is the kernel's")

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


@ladder
@pytest.mark.parametrize(
    "unknown, flags, refused", [rung[1:] for rung in RUNGS], ids=[r[0] for r in RUNGS])
def test_a_kernel_that_lacks_flags_gets_fewer(
        make_ring, ops, refused_flags, unknown, flags, refused):
    more = set(refused_flags) - set(refused)
    if more:
        pytest.skip(f"this kernel lacks more: {', '.join(sorted(more))}")
    ring = make_ring(known_flags=mask_without(ops, unknown))
    assert granted(ring) == flags
    assert ring.refused == {
        name: f"{BEFORE_ADVICE}{version})" for name, version in refused.items()}
    assert works(ring, ops)


@ladder
def test_the_newest_kernels_refuse_nothing(make_ring, ops):
    """All flags, or a ladder step for each that this kernel does not have."""
    ring = make_ring()
    if not ring.refused:
        assert granted(ring) == {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER",
                                 "DEFER_TASKRUN", "NO_SQARRAY"}
    for name in ring.refused:
        assert not set(name.split("|")) <= granted(ring)
    assert works(ring, ops)


@ladder
def test_coop_is_the_set_of_the_qemu_series(make_ring, ops):
    ring = make_ring(taskrun="coop")
    if ring.refused:
        pytest.skip(f"not on this kernel: {ring.refused}")
    assert granted(ring) == {"SUBMIT_ALL", "TASKRUN_FLAG", "SINGLE_ISSUER",
                             "COOP_TASKRUN", "NO_SQARRAY"}
    assert works(ring, ops)


@ladder
def test_coop_below_6_6_is_not_told_about_defer(make_ring, ops, refused_flags):
    if refused_flags.keys() - {"NO_SQARRAY"}:
        pytest.skip(f"this kernel lacks more: {', '.join(sorted(refused_flags))}")
    ring = make_ring(taskrun="coop", known_flags=mask_without(ops, ["NO_SQARRAY"]))
    assert list(ring.refused) == ["NO_SQARRAY"]
    assert "COOP_TASKRUN" in ring.flag_names


@ladder
def test_flags_are_those_that_flag_names_spell(make_ring, ops):
    ring = make_ring(disabled=True)
    assert ring.flags == sum(getattr(ops, name) for name in ring.flag_names)
    assert ring.flags & ops.R_DISABLED


@ladder
def test_a_kernel_without_any_flag_that_we_need_is_an_error(io_uring, no_leaks):
    """CQSIZE and CLAMP (5.6) are no rung: such a kernel lacks EXT_ARG too."""
    with pytest.raises(OSError) as caught:
        Ring(known_flags=0)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.epoll_only("it has no ladder")
def test_an_epoll_ring_has_no_flags_of_the_kernels(make_ring, options, ops):
    """Whatever is asked for and whatever the kernel knows."""
    ring = make_ring(taskrun="coop", single_issuer=False, known_flags=0, **options)
    assert (ring.flag_names, ring.refused) == ((), {})
    assert works(ring, ops)


def test_holding_files_is_io_urings(ring, mode):
    assert ring.holds_files == (ring.driver == "io_uring") == (mode != "epoll")


# ---- sizes and arguments ----------------------------------------------------


def test_the_completion_queue_is_four_times_as_long_by_default(make_ring, options):
    ring = make_ring(**options, sq_entries=16, cq_entries=0)
    assert (ring.sq_entries, ring.cq_entries) == (16, 64)


def test_sizes_are_rounded_up_and_clamped(make_ring, options):
    ring = make_ring(**options, sq_entries=5, cq_entries=9)
    assert (ring.sq_entries, ring.cq_entries) == (8, 16)
    largest = make_ring(**options, sq_entries=1 << 20, cq_entries=1 << 20)
    assert (largest.sq_entries, largest.cq_entries) == (32768, 65536)


@pytest.mark.parametrize("mode", ["defer", "epoll"])
@pytest.mark.parametrize("bad, error", [
    ({"sq_entries": 0}, OSError),
    ({"sq_entries": 64, "cq_entries": 8}, OSError),
    ({"sq_entries": -1}, OverflowError),
    ({"sq_entries": "8"}, TypeError),
    ({"taskrun": 1}, TypeError),
    ({"taskrun": "sometimes"}, ValueError),
    ({"taskrun": None}, (TypeError, ValueError)),
    ({"sq_poll": True}, TypeError),
    ({"driver": "kqueue"}, ValueError),
    ({"driver": ""}, ValueError),
    ({"driver": None}, (TypeError, ValueError)),
])
def test_bad_options_are_refused(options, no_leaks, bad, error):
    with pytest.raises(error):
        Ring(**{**options, **bad})


@pytest.mark.parametrize("mode", ["defer", "epoll"])
@pytest.mark.parametrize("bad", [
    {"most": 3}, {"most": 65536}, {"count": 1, "most": 4, "buffer_bytes": -1}])
def test_a_pool_of_a_bad_size_is_refused(ring, bad):
    with pytest.raises((OSError, OverflowError)):
        BufferPool(ring, **bad)
    with pytest.raises(TypeError):
        BufferPool(None)


def test_repr_tells_the_driver_and_the_state(ring, ops):
    op = ops.nop()
    assert repr(op) == "<Recorded idle>"
    ring.prepare(op)
    assert repr(ring).startswith(f"<Ring {ring.driver} enabled ")
    assert "1 in flight" in repr(ring)
    ring.cancel(op)
    assert repr(op) == "<Recorded in flight, cancel requested>"
    ring.close()
    assert repr(ring).startswith(f"<Ring {ring.driver} closed ")


@disabled
def test_repr_tells_of_a_disabled_ring(make_ring):
    assert repr(make_ring(disabled=True)).startswith("<Ring io_uring disabled ")


# ---- disabled rings ---------------------------------------------------------


@disabled
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


@disabled
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
    if "SINGLE_ISSUER" not in ring.flag_names:
        pytest.skip("nothing binds a ring to a thread before Linux 6.0")
    with pytest.raises(RuntimeError, match="belongs to another thread"):
        ring.enter(False)


@disabled
def test_enable_twice_is_once(make_ring, ops):
    ring = make_ring(disabled=True)
    ring.enable()
    ring.enable()
    assert works(ring, ops)


@disabled
def test_a_disabled_ring_closes_with_what_was_prepared(make_ring, ops):
    """Never submitted: nothing to wait for, nothing the kernel could still touch."""
    ring = make_ring(disabled=True)
    op = ops.nop()
    ring.prepare(op)
    ring.close()
    assert (op.in_flight, ring.in_flight_count) == (False, 0)


@pytest.mark.epoll_only("it has no thread to be bound to")
def test_an_epoll_ring_works_from_the_start(make_ring, options, ops):
    ring = make_ring(disabled=True, **options)
    assert ring.enabled and ring.owner != 0
    assert works(ring, ops)
    ring.enable()
    assert works(ring, ops)


@disabled
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
