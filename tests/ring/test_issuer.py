"""What the kernel says to threads and processes that are not a ring's issuer.

These are facts about the kernel on which docs/threads.md and the loop's moves stand,
asked with as little of our code in between as possible. What Ring makes of them is in
test_process.py.
"""

import errno
import os
import select
import socket
import threading

import pytest

from tests.slowness import PATIENCE_SECONDS

from .conftest import ENTER_LIMIT_NS
from .test_process import in_thread

pytestmark = pytest.mark.io_uring_only("a ring's issuer is the kernel's notion")

SECONDS = PATIENCE_SECONDS
FLAGS = {
    "defer": {"taskrun": "defer"},
    "coop": {"taskrun": "coop"},
    "many issuers": {"taskrun": "coop", "single_issuer": False},
}


@pytest.fixture(params=FLAGS)
def kind(request):
    return request.param


@pytest.fixture
def bound(make_ring, kind):
    """bound(disabled=...): a ring of this kind, as the kernel here grants it."""
    def make(**options):
        ring = make_ring(**FLAGS[kind], **options)
        missing = {"DEFER_TASKRUN", "SINGLE_ISSUER"} & set(ring.refused)
        if kind != "many issuers" and missing:
            pytest.skip(f"not on this kernel: {missing}")
        return ring

    return make


def is_refused(kind):
    """What a foreign thread gets where only the issuer may."""
    return 0 if kind == "many issuers" else -errno.EEXIST


# ---- who is bound, and when ------------------------------------------------------


def test_a_disabled_ring_takes_nothing_and_may_be_registered_with(bound, ops):
    ring = bound(disabled=True)
    event_fd = os.eventfd(0)
    for submit in (False, True):
        for get_events in (False, True):
            assert ops.raw_enter(ring, submit, get_events) == -errno.EBADFD
    assert ops.register_eventfd(ring, event_fd) == 0
    assert ops.unregister_eventfd(ring) == 0
    os.close(event_fd)


def test_the_thread_that_enables_is_bound_not_the_one_that_made_it(bound, ops, kind):
    ring = bound(disabled=True)
    enabled, asked = threading.Event(), threading.Event()

    def issuer():
        ring.enable()
        enabled.set()
        asked.wait(SECONDS)
        return ops.raw_enter(ring, True, True)

    def creator():
        ring.prepare(ops.nop())
        return foreign_answers(ring, ops)

    results = []
    thread = threading.Thread(target=lambda: results.append(issuer()))
    thread.start()
    assert enabled.wait(SECONDS)
    answers = creator()
    asked.set()
    thread.join()
    check_foreign(answers, kind)
    # The entry that a foreign thread could not submit is the issuer's to submit.
    assert results == [1 if kind != "many issuers" else 0]
    ring.abandon()


def foreign_answers(ring, ops):
    """Of the kernel, for each thing that a thread may want of a ring."""
    event_fd = os.eventfd(0)
    answers = {
        "enter, nothing to do": ops.raw_enter(ring, False, False),
        "enter for events": ops.raw_enter(ring, False, True),
        "submit": ops.raw_enter(ring, True, False),
        "register": ops.register_eventfd(ring, event_fd),
        "poll": select.select([ring.fileno()], [], [], 0)[0],
    }
    if answers["register"] == 0:
        ops.unregister_eventfd(ring)
    os.close(event_fd)
    return answers


def check_foreign(answers, kind):
    # DEFER: even a look at the events is the issuer's, whose task work it would run.
    events = -errno.EEXIST if kind == "defer" else 0
    submitted = 1 if kind == "many issuers" else -errno.EEXIST
    assert answers["enter, nothing to do"] == 0
    assert answers["enter for events"] == events
    assert answers["submit"] == submitted
    assert answers["register"] == is_refused(kind)


def test_without_r_disabled_the_thread_that_made_it_is_bound(bound, ops, kind):
    ring = bound()
    ring.prepare(ops.nop())
    check_foreign(in_thread(foreign_answers, ring, ops), kind)
    assert ops.raw_enter(ring, True, True) == (0 if kind == "many issuers" else 1)
    assert ring.reap(10) == 1


def test_a_ring_cannot_be_enabled_twice(bound, ops, kind):
    ring = bound(disabled=True)
    assert ops.raw_enable(ring) == 0
    # Not EBADFD, even: a foreign thread is refused before it is told so.
    assert in_thread(ops.raw_enable, ring) == (
        -errno.EBADFD if kind == "many issuers" else -errno.EEXIST)
    assert ops.raw_enable(ring) == -errno.EBADFD
    ring.abandon()


def test_the_binding_outlives_the_thread(bound, ops, kind):
    ring = bound(disabled=True)
    in_thread(ring.enable)
    ring.prepare(ops.nop())
    assert ops.raw_enter(ring, True, True) == (
        1 if kind == "many issuers" else -errno.EEXIST)
    ring.close()


def register_ring_fd(ring, ops):
    answer = ops.register_ring_fd(ring)
    if answer == -errno.EINVAL:
        pytest.skip("no ring descriptor can be registered before Linux 5.18")
    assert answer == 1


def test_the_index_of_a_registered_ring_is_its_threads_alone(bound, ops):
    ring = bound()
    register_ring_fd(ring, ops)
    assert ops.raw_enter_by_index(ring) == 0
    assert in_thread(ops.raw_enter_by_index, ring) == -errno.EINVAL
    assert ops.unregister_ring_fd(ring) == 1


def test_a_registered_ring_outlives_the_close_of_its_descriptor(bound, ops):
    """Which is why nothing here registers one: a loop that is closed must be gone."""
    ring = bound()
    register_ring_fd(ring, ops)
    spare = os.dup(ring.fileno())
    os.close(ring.fileno())
    assert ops.raw_enter_by_index(ring) == 0
    os.dup2(spare, ring.fileno())
    os.close(spare)
    assert ops.unregister_ring_fd(ring) == 1


def test_a_foreign_ring_may_post_to_it_all_the_same(bound, make_ring, ops):
    ring = bound()

    def post():
        own = make_ring()
        sent = ops.message(ring, 1234)
        own.prepare(sent)
        own.enter(True, ENTER_LIMIT_NS)
        own.reap(10)
        return sent.heard, own.close()

    heard, left = in_thread(post)
    if heard == [(-errno.EINVAL, False)]:
        pytest.skip("no MSG_RING before Linux 5.18")
    assert (heard, left) == ([(0, False)], [])
    ring.enter(False)
    assert ring.completions_count == 1
    # With a user_data of 0: nobody's.
    assert ring.reap_one() is None


# ---- a thread that ends while its requests are in flight --------------------------


@pytest.fixture
def orphaned(bound, ops, pair, pipe):
    """(ring, requests, make_events) whose thread has submitted them and ended."""
    ring = bound(disabled=True)
    workers = socket.socketpair()

    def make_events():
        pair[1].send(b"data")
        workers[1].send(b"data")
        os.write(pipe.write, b"data")

    requests = {
        "receive": ops.receive_into(pair[0].fileno(), 8),
        "poll": ops.poll(pipe.read, select.POLLIN),
        "read": ops.read(pipe.read, 8),
        "in a worker": ops.in_worker(ops.receive_into(workers[0].fileno(), 8)),
        "timeout": ops.timeout(30_000_000),
    }

    def submit():
        ring.enable()
        for request in requests.values():
            ring.prepare(request)
        ring.enter(False)

    in_thread(submit)
    yield ring, requests, make_events
    left = ring.close()
    assert set(left) <= set(requests.values())
    for sock in workers:
        sock.close()


def test_what_a_gone_thread_asked_for_is_cancelled_by_its_event(
        orphaned, kind, ops, pair, pipe):
    """Requests look alive, and take nothing: the data stays for who asks next."""
    ring, requests, make_events = orphaned
    make_events()
    if kind == "defer":
        # Task work of a thread that is gone is for nobody. Linux 6.1 posts some answers
        # all the same; how many depends on when a worker ended.
        assert ops.raw_enter(ring, False, True) == -errno.EEXIST
        assert ring.completions_count == 0 or "NO_SQARRAY" in ring.refused
    else:
        while any(r.in_flight for r in requests.values()):
            assert select.select([ring.fileno()], [], [], SECONDS)[0]
            ops.raw_enter(ring, False, True)
            ring.reap(10)
        heard = {name: r.heard for name, r in requests.items()}
        cancelled = [(-errno.ECANCELED, False)]
        # Only a timer needs no thread, if it may be posted from anywhere.
        assert heard.pop("timeout") in ([(-errno.ETIME, False)], cancelled)
        # What waits in a kernel's worker: EINTR on Linux 5.10.
        assert heard.pop("in a worker") in (cancelled, [(-errno.EINTR, False)])
        assert heard == dict.fromkeys(heard, cancelled)
    assert pair[0].recv(100) == b"data"
    assert os.read(pipe.read, 100) == b"data"


def test_all_of_it_is_prepared_again_elsewhere(orphaned, make_ring, ops, pair, pipe):
    """How a loop moves: abandon the ring, use a new one, and nothing is lost."""
    ring, requests, make_events = orphaned
    left = ring.abandon()
    assert set(left) == {r for r in requests.values() if not r.heard}
    other = make_ring()
    again = ops.receive_into(pair[0].fileno(), 8)
    poll = ops.poll(pipe.read, select.POLLIN)
    other.prepare(again)
    other.prepare(poll)
    make_events()
    while again.in_flight or poll.in_flight:
        other.enter(True, ENTER_LIMIT_NS)
        other.reap(10)
    assert (again.heard, bytes(again.memory[:4])) == ([(4, False)], b"data")
    assert poll.heard[0][0] & select.POLLIN


# ---- fork -----------------------------------------------------------------------


def test_a_receive_in_flight_writes_into_the_parents_memory(
        bound, ops, pair, until):
    ring = bound()
    op = ops.receive_into(pair[0].fileno(), 8)
    ring.prepare(op)
    ring.enter(False)
    told = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(told[0], 1)
        os._exit(0 if op.memory[:5] == bytes(5) else 1)
    pair[1].send(b"hello")
    until(ring, lambda: not op.in_flight)
    assert op.memory[:5] == b"hello"
    os.write(told[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for fd in told:
        os.close(fd)


def test_the_kernel_refuses_a_child_by_the_same_rule_as_a_thread(
        bound, ops, kind, in_child):
    """Only by that rule: without a single issuer, a child could submit in its parent's
    name. That it has no queues to do it with is MADV_DONTFORK's doing."""
    ring = bound()
    events = -errno.EEXIST if kind == "defer" else 0
    assert in_child(lambda: look_from_child(ring, ops)) == [0, events, is_refused(kind)]
    assert ops.raw_enter(ring, False, True) == 0


def look_from_child(ring, ops):
    event_fd = os.eventfd(0)
    return [ops.raw_enter(ring, False, False), ops.raw_enter(ring, False, True),
            ops.register_eventfd(ring, event_fd)]
