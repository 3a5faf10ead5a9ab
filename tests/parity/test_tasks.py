"""Tasks and futures of the loop: creation, factories, contexts, order of waking."""

import asyncio
import contextvars
import sys

import pytest

from .framework import parity

VAR = contextvars.ContextVar("VAR", default="unset")

eager = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks came with 3.12"
)


async def give(value):
    return value


@parity
async def test_create_task_names_and_contexts(loop, trace):
    async def look():
        trace("sees", VAR.get())
        VAR.set("changed")

    context = contextvars.copy_context()
    context.run(VAR.set, "given")
    first = loop.create_task(look(), name="a name")
    second = loop.create_task(look(), context=context)
    third = loop.create_task(look(), name=7)
    trace("names", first.get_name(), third.get_name())
    await asyncio.gather(first, second, third)
    trace("contexts", VAR.get(), context[VAR])
    trace("its loop", first.get_loop() is loop, type(first) is asyncio.Task)


@parity
async def test_create_task_refuses_what_is_no_coroutine(loop, trace):
    for value in (None, 7, print, loop.create_future()):
        trace.call_class("create_task", loop.create_task, value)
    coroutine = give(1)
    trace.call_class("keyword", loop.create_task, coroutine, colour="red")
    trace.call_class("position", loop.create_task, coroutine, "name")
    trace.call_class("nothing", loop.create_task)
    coroutine.close()


@parity
def test_create_task_on_a_closed_loop(loop, trace):
    loop.close()
    coroutine = give(1)
    trace.call("create_task", loop.create_task, coroutine)
    coroutine.close()


@parity
def test_create_future_belongs_to_the_loop(loop, trace):
    future = loop.create_future()
    trace("future", type(future) is asyncio.Future, future.get_loop() is loop)
    trace("state", future.done(), future.cancelled())
    loop.close()
    trace("on a closed loop", loop.create_future().done())


@parity
def test_a_task_factory_makes_the_tasks(loop, trace):
    def factory(seen_loop, coroutine, **kwargs):
        trace("factory", seen_loop is loop, sorted(kwargs))
        return asyncio.Task(coroutine, loop=seen_loop, **kwargs)

    async def main():
        trace("plain", await loop.create_task(give(1)))
        trace("named", await loop.create_task(give(2), name="named"))
        context = contextvars.copy_context()
        trace("context", await loop.create_task(give(3), context=context))

    trace("at first", loop.get_task_factory())
    loop.set_task_factory(factory)
    trace("set", loop.get_task_factory() is factory)
    loop.run_until_complete(main())
    loop.set_task_factory(None)
    trace("taken back", loop.get_task_factory())


@parity
def test_a_task_factory_is_checked(loop, trace):
    for value in (7, "text", [print]):
        trace.call("set", loop.set_task_factory, value)


@parity
def test_a_task_factory_may_return_anything(loop, trace):
    class Odd:
        """No task; 3.13.0 gives even the unnamed ones their name."""

        def set_name(self, name):
            self.name = name

    def factory(seen_loop, coroutine, **kwargs):
        coroutine.close()
        return Odd()

    loop.set_task_factory(factory)
    trace("made", type(loop.create_task(give(1))))
    trace("made", type(loop.create_task(give(1), name="named")))
    loop.set_task_factory(None)


@eager
@parity
def test_eager_tasks_start_at_once(loop, trace):
    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)

        async def quick():
            trace("quick runs", asyncio.current_task() is not None)
            return "quick"

        async def slow():
            trace("slow starts")
            await asyncio.sleep(0)
            trace("slow goes on")
            return "slow"

        first = loop.create_task(quick(), name="first")
        trace("created", first.done(), first.get_name())
        second = loop.create_task(slow())
        trace("created", second.done(), asyncio.current_task().get_name())
        trace("results", await first, await second)

    loop.run_until_complete(loop.create_task(main(), name="main"))


@eager
@parity
def test_eager_tasks_that_fail(loop, trace):
    async def fail():
        raise ValueError("at once")

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        task = loop.create_task(fail())
        trace("done", task.done())
        await trace.wait("awaited", task)

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="came with 3.14")
@parity
async def test_create_task_starts_eagerly_when_asked_to(loop, trace):
    async def quick():
        trace("runs", asyncio.current_task().get_name())
        return "quick"

    for eager_start in (True, False, None):
        task = loop.create_task(quick(), name=f"{eager_start}", eager_start=eager_start)
        trace("created", eager_start, task.done())
        trace("result", await task)


@parity
async def test_tasks_wake_in_the_order_of_their_waiting(loop, trace):
    future = loop.create_future()

    async def wait(number):
        trace("woken", number, await future)

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    future.set_result("now")
    await asyncio.gather(*tasks)


@parity
async def test_cancelling_interleaves_with_running(loop, trace):
    async def work(name):
        try:
            for step in range(5):
                trace("step", name, step)
                await asyncio.sleep(0)
        except asyncio.CancelledError as exc:
            trace("cancelled", name, exc)
            raise

    first = asyncio.create_task(work("first"))
    second = asyncio.create_task(work("second"))
    await asyncio.sleep(0)
    first.cancel("stop it")
    await asyncio.wait([first, second])
    trace("states", first.cancelled(), second.cancelled())


@parity
async def test_current_task_and_all_tasks(loop, trace):
    async def look():
        trace("current", asyncio.current_task().get_name())

    task = asyncio.create_task(look(), name="looker")
    trace("names", {t.get_name() for t in asyncio.all_tasks()} & {"looker"})
    await task
    trace("names", {t.get_name() for t in asyncio.all_tasks()} & {"looker"})
    loop.call_soon(lambda: trace("in a callback", asyncio.current_task()))
    await asyncio.sleep(0)


@parity
async def test_timeouts_and_groups(loop, trace):
    async def too_slow():
        async with asyncio.timeout(0.005):
            await asyncio.sleep(1000)

    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(1000))
            tasks.create_task(too_slow())

    await trace.wait("timeout", too_slow())
    await trace.wait("wait_for", asyncio.wait_for(asyncio.sleep(1000), 0.005))
    await trace.wait("wait_for zero", asyncio.wait_for(asyncio.sleep(1000), 0))
    await trace.wait("group", group())


@parity
async def test_executor_results_and_errors(loop, trace):
    await trace.wait("result", loop.run_in_executor(None, sum, [1, 2]))
    await trace.wait("error", loop.run_in_executor(None, int, "x"))
    await loop.shutdown_default_executor()
    trace.call("after shutdown", loop.run_in_executor, None, sum, [1])
    trace.call("wrong executor", loop.set_default_executor, "text")


@parity
def test_async_generators_are_shut_down(loop, trace):
    async def numbers(name):
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            trace("closed", name)

    async def broken():
        try:
            yield 1
        finally:
            raise ValueError("while closing")

    async def main():
        kept.append(numbers("kept"))
        trace("first", await kept[0].__anext__())
        kept.append(broken())
        await kept[1].__anext__()
        async for number in numbers("left"):
            trace("left at", number)
            break

    kept = []
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    trace("shut down")
    loop.run_until_complete(loop.shutdown_asyncgens())


@parity
def test_an_async_generator_after_the_shutdown_warns(loop, trace):
    async def numbers():
        yield 1

    async def main():
        await loop.shutdown_asyncgens()
        with pytest.warns(ResourceWarning) as caught:
            late = numbers()
            await late.__anext__()
        trace("warned", [str(warning.message).split(" was ")[1] for warning in caught])
        await late.aclose()

    loop.run_until_complete(main())


@parity
def test_a_dropped_async_generator_is_closed_by_the_loop(loop, trace):
    async def numbers():
        try:
            yield 1
        finally:
            trace("closed")

    async def main():
        generator = numbers()
        await generator.__anext__()
        del generator
        trace("dropped")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        trace("later")

    loop.run_until_complete(main())


@parity
async def test_queues_and_locks_hand_over_in_order(loop, trace):
    queue, lock = asyncio.Queue(maxsize=2), asyncio.Lock()

    async def produce(name):
        for number in range(3):
            await queue.put((name, number))
            trace("put", name, number)

    async def consume(name):
        for _ in range(3):
            async with lock:
                trace("got", name, await queue.get())

    await asyncio.gather(produce("p"), consume("x"), produce("q"), consume("y"))
