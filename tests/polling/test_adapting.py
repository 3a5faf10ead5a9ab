"""How long the next spin may be: the algorithm, number by number."""

import pytest

import uring_loop
from uring_loop.scheduler.busy_poll import AdaptivePoll

from ..parity import loops

MAX_NS = 32_000


@pytest.fixture
def poll():
    poll = AdaptivePoll()
    poll.set(max_ns=MAX_NS, grow=0, shrink=0)
    return poll


def after(poll, *waits_ns):
    """What was learnt after each of these waits."""
    lengths = []
    for wait_ns in waits_ns:
        poll.adjust(wait_ns)
        lengths.append(poll.ns)
    return lengths


def test_it_begins_with_4_microseconds_and_doubles_up_to_the_limit(poll):
    waits = [MAX_NS - 1] * 6
    assert after(poll, *waits) == [4_000, 8_000, 16_000, 32_000, 32_000, 32_000]


def test_it_stays_as_it_is_when_it_was_long_enough(poll):
    assert after(poll, 3_000, 3_000, 4_000, 4_001, 8_000) == [
        4_000, 4_000, 4_000, 8_000, 8_000]


def test_a_wait_longer_than_any_spin_ends_the_spinning(poll):
    assert after(poll, 10_000, 10_000, MAX_NS + 1, 10_000) == [4_000, 8_000, 0, 4_000]


def test_grow_is_a_factor_and_shrink_a_divisor(poll):
    poll.set(max_ns=MAX_NS, grow=3, shrink=2)
    assert after(poll, 31_000, 31_000, 31_000, 99_000, 99_000, 31_000) == [
        4_000, 12_000, 32_000, 16_000, 8_000, 24_000]


def test_the_first_spin_keeps_to_a_small_limit(poll):
    poll.set(max_ns=1_000, grow=0, shrink=0)
    assert after(poll, 900, 900, 1_001) == [1_000, 1_000, 0]


def test_the_largest_parameters_do_not_overflow(poll):
    most = 2**63 - 1
    poll.set(max_ns=most, grow=most, shrink=most)
    assert after(poll, most - 1, most - 1, most) == [4_000, most, most]


def test_new_parameters_forget_what_was_learnt(poll):
    after(poll, 10_000, 10_000)
    poll.set(max_ns=MAX_NS, grow=0, shrink=0)
    assert poll.ns == 0


BAD = [-1, 2**63, 1.0, "4000", None]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["max_ns", "grow", "shrink"])
def test_bad_parameters_are_refused_and_change_nothing(poll, name, bad):
    good = {"max_ns": 1, "grow": 1, "shrink": 1}
    with pytest.raises(ValueError, match=f"poll_{name} must be an integer from 0"):
        poll.set(**{**good, name: bad})
    assert (poll.max_ns, poll.grow, poll.shrink) == (MAX_NS, 0, 0)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["poll_max_ns", "poll_grow", "poll_shrink"])
def test_the_loop_refuses_bad_options_before_it_makes_anything(name, bad, no_leaks):
    with pytest.raises(ValueError, match=f"{name} must be an integer from 0"):
        uring_loop.Loop(**{name: bad})


@pytest.mark.parametrize("backend", loops.OURS)
def test_every_backend_takes_the_options(backend, no_leaks):
    if backend == "io_uring":
        loops.skip_where_io_uring_is_refused()
    loop = uring_loop.new_event_loop(
        backend=backend, poll_max_ns=MAX_NS, poll_grow=3, poll_shrink=2)
    loop.set_poll(max_ns=1)
    loop.close()
