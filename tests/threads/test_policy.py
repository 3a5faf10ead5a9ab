"""The policy: asyncio's rules, and a loop and a ring for each thread."""

import asyncio
import concurrent.futures
import threading
import warnings

import pytest

import uring_loop
from uring_loop import _compat

from tests.slowness import PATIENCE_SECONDS

from ..parity.loops import skip_where_io_uring_is_refused

THREADS = 10
SECONDS = PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(
    not _compat.HAS_POLICIES, reason="asyncio has no policies from 3.16 on")


@pytest.fixture
def installed(no_leaks):
    """uring_loop.install(), undone at the end; also on 3.14, which deprecates it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        uring_loop.install()
        yield asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(None)


def what_a_thread_sees(policy, log, name):
    """What a policy gives before and after a loop is set, as asyncio has it."""
    def note(what, function):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                value = function()
            except Exception as exc:
                log.append((name, what, type(exc), str(exc)))
                return None
        log.append((name, what, isinstance(value, asyncio.SelectorEventLoop),
                    [str(w.message) for w in heard]))
        return value

    implicit = note("get", policy.get_event_loop)
    log.append((name, "the same", implicit is note("get again", policy.get_event_loop)))
    made = note("new", policy.new_event_loop)
    log.append((name, "another", made is not implicit))
    policy.set_event_loop(made)
    log.append((name, "as set", note("get", policy.get_event_loop) is made))
    policy.set_event_loop(None)
    note("get after None", policy.get_event_loop)
    for loop in (implicit, made):
        if loop is not None:
            loop.close()
    note("set what is no loop", lambda: policy.set_event_loop("loop"))


def seen_with(policy):
    log = []
    what_a_thread_sees(policy, log, "main")
    # The messages name it.
    thread = threading.Thread(
        target=what_a_thread_sees, args=(policy, log, "other"), name="other")
    thread.start()
    thread.join()
    return [tuple(str(part).replace(type(policy).__name__, "POLICY") for part in line)
            for line in log]


def test_main_thread_and_other_threads_see_what_asyncio_shows_them(no_leaks):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stock = asyncio.DefaultEventLoopPolicy()
    expected = seen_with(stock)
    assert seen_with(uring_loop.EventLoopPolicy()) == expected
    assert len(expected) > 15


@pytest.fixture
def on_a_ring(monkeypatch):
    skip_where_io_uring_is_refused()
    monkeypatch.setenv("URING_LOOP_BACKEND", "io_uring")


def test_asyncio_run_in_ten_threads_at_once(on_a_ring, installed):
    """Each has a loop of its own, whose ring obeys that thread alone."""
    together = threading.Barrier(THREADS)

    async def main(number):
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        # All loops run at the same time from here on.
        await asyncio.to_thread(together.wait, SECONDS)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        writer.write(b"%d\n" % number)
        answer = int(await reader.readline())
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        assert "SINGLE_ISSUER" in (*loop.ring_flags, *loop.ring_refused)
        return answer, id(loop), loop.ring.owner

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = [f.result(SECONDS) for f in [
            pool.submit(lambda n=n: asyncio.run(main(n))) for n in range(THREADS)]]
    answers, loops, owners = zip(*results)
    assert list(answers) == list(range(THREADS))
    assert len(set(loops)) == len(set(owners)) == THREADS


def test_each_thread_sets_and_gets_its_own(on_a_ring, installed):
    def own():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            assert installed.get_event_loop() is loop
            return type(loop), loop.run_until_complete(asyncio.sleep(0, "ran"))
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = [f.result(SECONDS) for f in [pool.submit(own) for _ in range(50)]]
    assert set(results) == {(uring_loop.Loop, "ran")}


def test_install_makes_every_new_loop_ours_until_it_is_undone(installed):
    async def kind():
        return type(asyncio.get_running_loop())

    assert asyncio.run(kind()) is uring_loop.Loop
    assert type(installed) is uring_loop.EventLoopPolicy
    with asyncio.Runner() as runner:
        assert runner.run(kind()) is uring_loop.Loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(None)
    assert asyncio.run(kind()) is not uring_loop.Loop
