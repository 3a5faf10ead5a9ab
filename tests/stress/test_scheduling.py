"""Callbacks and timers in great number, from one thread and from many."""

import asyncio
import random
import threading

from tests.slowness import PATIENCE_SECONDS

THREADS = 8
CALLS = 100_000
TIMERS = 10_000


def test_no_threadsafe_call_is_lost(loop, run):
    arrived = [[] for _ in range(THREADS)]
    each = CALLS // THREADS

    def speak(number):
        for value in range(each):
            loop.call_soon_threadsafe(arrived[number].append, value)

    async def listen():
        threads = [threading.Thread(target=speak, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
        await asyncio.sleep(0)

    run(listen())
    assert arrived == [list(range(each))] * THREADS


def test_a_sleeping_loop_hears_every_call(loop, run):
    """Each call finds the loop asleep, or about to be: none may be slept through."""
    rounds = 3000

    async def listen():
        heard = threading.Semaphore(0)

        def speak():
            for _ in range(rounds):
                loop.call_soon_threadsafe(heard.release)
                assert heard.acquire(timeout=PATIENCE_SECONDS), "slept through a call"

        await asyncio.to_thread(speak)

    run(listen())


def test_executor_round_trips(loop, run):
    async def trips():
        for number in range(2000):
            assert await loop.run_in_executor(None, abs, -number) == number

    run(trips())


def test_timers_run_in_order_and_cancelled_ones_do_not(loop, run):
    dice = random.Random(7)
    ran, expected = [], []

    async def scenario():
        start = loop.time()
        handles = []
        for number in range(TIMERS):
            when = start + dice.random() * 0.5
            handles.append((when, number, loop.call_at(when, note, when, number)))
        for when, number, handle in handles:
            if dice.random() < 0.5:
                handle.cancel()
            else:
                expected.append((when, number))
        await asyncio.sleep(start + 0.5 - loop.time())
        await asyncio.sleep(0.001)

    def note(when, number):
        assert loop.time() >= when - loop._clock_resolution
        ran.append((when, number))

    run(scenario())
    assert ran == sorted(expected)


def test_timers_that_cancel_each_other(loop, run):
    dice = random.Random(11)
    live, ran = {}, []

    async def scenario():
        for number in range(2000):
            live[number] = loop.call_later(dice.random() * 0.2, fire, number)
        while live:
            await asyncio.sleep(0.01)

    def fire(number):
        del live[number]
        ran.append(number)
        if live and dice.random() < 0.5:
            victim = dice.choice(sorted(live))
            live.pop(victim).cancel()
        elif len(ran) < 3000:
            new = 2000 + len(ran)
            live[new] = loop.call_later(dice.random() * 0.05, fire, new)

    run(scenario())
    assert len(ran) == len(set(ran))
    assert len(ran) > 1000


def test_many_tasks(loop, run):
    async def leaf(number):
        await asyncio.sleep(0)
        return number

    async def tree():
        total = 0
        for _ in range(10):
            total += sum(await asyncio.gather(*(leaf(n) for n in range(2000))))
        return total

    assert run(tree()) == 10 * sum(range(2000))
