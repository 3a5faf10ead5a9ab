"""enter(): how long it sleeps, what wakes it, and who runs meanwhile."""

import gc
import os
import select
import signal
import sys
import threading
import time

import pytest

from tests.slowness import DEADLINE_SECONDS

from .conftest import ENTER_LIMIT_NS

FOREVER = -1

# Not the method that needs SIGALRM, which is ours here, and its handler run in time.
pytestmark = pytest.mark.timeout(DEADLINE_SECONDS, method="thread")


@pytest.fixture
def waiting(ring, ops, pipe):
    """A read in flight, so that a completion can come from outside."""
    op = ops.read(pipe.read, 8)
    ring.prepare(op)
    ring.enter(False)
    return op


# ---- time -------------------------------------------------------------------


def test_without_wait_it_comes_back_at_once(ring, waiting):
    ring.enter(False)
    # The limit is for waiting only.
    ring.enter(False, FOREVER)
    assert ring.completions_count == 0


@pytest.mark.parametrize("timeout_ns", [0, 1, 50_000, 3_000_000])
@pytest.mark.parametrize("submitting", [False, True])
def test_a_timeout_is_no_error_and_not_early(
        ring, waiting, ops, pipe, timeout_ns, submitting):
    if submitting:
        ring.prepare(ops.poll(pipe.read, select.POLLIN))
    start = time.monotonic_ns()
    ring.enter(True, timeout_ns)
    assert time.monotonic_ns() - start >= timeout_ns
    assert (ring.reap(10), waiting.in_flight) == (0, True)


@pytest.mark.parametrize("timeout_ns", [
    FOREVER, -(1 << 63), ENTER_LIMIT_NS, (1 << 63) - 1])
def test_a_completion_ends_the_wait(ring, waiting, pipe, timeout_ns):
    """Also with the longest timeout that can be said."""
    writer = threading.Thread(target=os.write, args=(pipe.write, b"wake"))
    writer.start()
    ring.enter(True, timeout_ns)
    writer.join()
    assert ring.reap(10) == 1
    assert waiting.memory[:4] == b"wake"


def test_a_completion_that_is_there_is_not_waited_for(ring, ops, waiting):
    ring.prepare(ops.nop())
    ring.enter(False)
    ring.enter(True, FOREVER)
    ring.enter(True, FOREVER)
    assert ring.reap(10) == 1


@pytest.mark.parametrize("arguments, error", [
    ((), TypeError), ((True, "1"), TypeError), ((True, None), TypeError),
    ((True, 1 << 63), OverflowError)])
def test_bad_arguments_are_refused(ring, arguments, error):
    with pytest.raises(error):
        ring.enter(*arguments)


@pytest.mark.parametrize("limit, error", [
    (-1, OverflowError), (1 << 32, OverflowError), ("1", TypeError)])
def test_reap_refuses_a_bad_limit(ring, limit, error):
    with pytest.raises(error):
        ring.reap(limit)


# ---- signals ----------------------------------------------------------------


@pytest.fixture
def alarms():
    """alarms(handler): call it for SIGALRM, again and again until the test is over.

    Again, so that a signal just before the sleep is not the last one.
    """
    old = signal.getsignal(signal.SIGALRM)

    def start(handler):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    # What a handler raises in a callback of the collector's is lost, and hypothesis
    # has one.
    gc.disable()
    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)
    gc.enable()


def interrupt_once():
    """A handler like that of Ctrl-C, silent when the timer fires again afterwards."""
    pending = [KeyboardInterrupt()]

    def interrupt(number, frame):
        if pending:
            raise pending.pop()

    return interrupt


@pytest.mark.parametrize("submitting", [False, True])
def test_ctrl_c_gets_out_of_the_sleep(ring, waiting, ops, pipe, alarms, submitting):
    """With entries submitted the kernel does not say EINTR: still prompt."""
    if submitting:
        ring.prepare(ops.poll(pipe.read, select.POLLIN))
    with pytest.raises(KeyboardInterrupt):
        alarms(interrupt_once())
        ops.finish(ring, waiting)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.write(pipe.write, b"after")
    ops.finish(ring, waiting)
    assert waiting.memory[:5] == b"after"


def test_close_can_be_interrupted(ring, ops, pipe, alarms):
    """Its waiting for a stubborn operation is no reason to be deaf."""
    op = ops.poll(pipe.read, select.POLLIN)
    op.then = lambda operation, res, more: ring.prepare(operation)
    ring.prepare(op)
    with pytest.raises(KeyboardInterrupt):
        alarms(interrupt_once())
        ring.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    op.then = None
    assert ring.close() == []


def test_a_handled_signal_ends_the_wait_without_an_error(ring, waiting, alarms):
    calls = []
    alarms(lambda number, frame: calls.append(number))
    ring.enter(True, FOREVER)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert calls
    assert (ring.reap(10), waiting.in_flight) == (0, True)


# ---- other threads ----------------------------------------------------------


@pytest.fixture
def no_switching():
    """The interpreter takes the GIL from nobody who does not give it up."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(usual)


def test_other_threads_run_while_it_sleeps(ring, waiting, pipe, no_switching):
    """If it kept the GIL, the thread that must wake it could never run Python."""
    about_to_sleep = threading.Event()
    turns = []

    def run_python():
        about_to_sleep.wait()
        turns.extend(number for number in range(1000))
        os.write(pipe.write, b"done")

    thread = threading.Thread(target=run_python)
    thread.start()
    about_to_sleep.set()
    ring.enter(True, FOREVER)
    thread.join()
    ring.reap(10)
    assert (waiting.memory[:4], len(turns)) == (b"done", 1000)
