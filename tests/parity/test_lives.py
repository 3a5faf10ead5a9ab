"""Loops in unusual lives: from thread to thread, many at once, one after another."""

import asyncio
import contextlib
import socket
import sys
import threading

import pytest

from . import loops, rigs
from .datagram_rigs import DatagramRecorder
from .endpoints import PEER_SECONDS, in_thread, settle
from .framework import finish, parity
from .test_sock import pair

since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="came with 3.12")
since_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="hangs before 3.13")

LOCAL = ("127.0.0.1", 0)
THREADS = 4


def in_another_thread(function, *args):
    """Run it in a thread that has ended when this returns."""
    outcome = []

    def run():
        try:
            outcome.append((function(*args), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


# ---- one loop, one thread after another -------------------------------------------


class Everything:
    """A connection of every kind, a read that waits and a watch, all on one loop."""

    async def open(self, loop, trace):
        self.loop = loop
        self.trace = trace
        self.stack = contextlib.AsyncExitStack()
        # Subprocesses have their own rules for threads, see test_subprocess.py.
        self.rigs = [
            await self.stack.enter_async_context(
                rigs.connected(loop, kind, KindTrace(trace, kind)))
            for kind in rigs.TWO_WAY + ("pipe",)
        ]
        self.udp = DatagramRecorder(trace.lane("udp"))
        await loop.create_datagram_endpoint(lambda: self.udp, local_addr=LOCAL)
        self.stack.callback(self.udp.transport.abort)
        self.near, self.far = self.stack.enter_context(pair())
        self.watched, self.watched_far = self.stack.enter_context(pair())
        self.seen = []
        loop.add_reader(self.watched, lambda: self.seen.append(self.watched.recv(100)))

    async def wait(self):
        """Leave a read waiting for the next thread."""
        self.reading = asyncio.ensure_future(self.loop.sock_recv(self.near, 100))
        await settle(self.loop)

    async def talk(self, number):
        message = b"message %d" % number
        total = len(message) * (number + 1)
        for rig in self.rigs:
            await rig.far.sends(message)
            await rig.reading.receives(total)
            rig.writer.write(message)
            self.trace(rig.kind, number, await rig.far.reads(len(message)))
        with socket.socket(type=socket.SOCK_DGRAM) as far:
            far.sendto(message, self.udp.transport.get_extra_info("sockname"))
            await self.udp.receives_datagrams(number + 1)
        self.watched_far.send(message)
        await settle(self.loop)
        self.trace("watch", self.seen)
        self.trace("timer", await asyncio.sleep(0.001, "slept"))

    async def close(self):
        self.loop.remove_reader(self.watched)
        await self.stack.aclose()
        await self.udp.happens("connection_lost")


class KindTrace:
    """Lanes with the kind in their names: all kinds share one trace here."""

    def __init__(self, trace, kind):
        self.trace = trace
        self.kind = kind

    def lane(self, name):
        return self.trace.lane(f"{self.kind} {name}")


@parity
def test_every_kind_of_connection_moves_between_threads(loop, trace):
    everything = Everything()
    run = loop.run_until_complete
    run(everything.open(loop, trace))
    for number in range(4):
        turn = run if number % 2 else lambda coro: in_another_thread(run, coro)
        turn(everything.wait())
        # This comes while no thread runs the loop, and is read by another one.
        everything.far.send(b"between two runs")
        other = run if not number % 2 else lambda coro: in_another_thread(run, coro)
        trace("left waiting", other(asyncio.wait_for(everything.reading, PEER_SECONDS)))
        turn(everything.talk(number))
    in_another_thread(run, everything.close())


@parity
def test_a_loop_made_in_one_thread_serves_another(loop, trace):
    async def work():
        server = await asyncio.start_server(lambda r, w: w.close(), *LOCAL)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        trace("read", await reader.read())
        writer.close()
        server.close()
        trace("executor", await in_thread(loop, sum, [1, 2, 3]))

    in_another_thread(loop.run_until_complete, work())
    in_another_thread(finish, loop)
    trace("closed", loop.is_closed())


# ---- run and run in threads -------------------------------------------------------


def runner(name, **options):
    return asyncio.Runner(loop_factory=lambda: loops.new(name), **options)


@parity
def test_a_runner_in_each_of_several_threads(loop, trace):
    async def main(number):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"%d" % number)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.close()

    def work(number):
        with runner(name) as own:
            results[number] = own.run(main(number))

    async def serve():
        nonlocal address
        server = await asyncio.start_server(echo, *LOCAL)
        address = server.sockets[0].getsockname()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await in_thread(loop, thread.join)
        server.close()
        await server.wait_closed()

    name = loops.name_of(loop)
    address, results = None, {}
    loop.run_until_complete(serve())
    trace("answers", results)


@since_3_12
@parity
def test_asyncio_run_takes_the_loop_as_a_factory(loop, trace):
    async def main():
        trace("type", type(asyncio.get_running_loop()) is type(loop))
        trace("debug", asyncio.get_running_loop().get_debug())
        await asyncio.sleep(0)
        return "result"

    def factory():
        return loops.new(name)

    name = loops.name_of(loop)
    trace("run", asyncio.run(main(), loop_factory=factory))
    trace("run", in_another_thread(
        lambda: asyncio.run(main(), debug=True, loop_factory=factory)))


@parity
def test_a_runner_cleans_up(loop, trace):
    async def forever():
        try:
            await asyncio.sleep(1000)
        finally:
            trace("cancelled")

    async def numbers():
        try:
            yield 1
        finally:
            trace("generator closed")

    async def main():
        nonlocal task, generator
        task = asyncio.create_task(forever())
        generator = numbers()
        await generator.__anext__()
        await asyncio.to_thread(trace, "in the executor")
        return "done"

    task = generator = None
    with runner(loops.name_of(loop)) as own:
        trace("run", own.run(main()))
        trace("again", own.run(asyncio.sleep(0, "again")))
    trace("task", task.cancelled(), own._loop is None)


@parity
def test_hooks_of_async_generators_are_ours_only_while_we_run(loop, trace):
    async def main():
        trace("inside", [hook is not None for hook in sys.get_asyncgen_hooks()])
        trace("own", sys.get_asyncgen_hooks().firstiter is not first)

    def first(generator):
        """Somebody else's hook."""

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=first, finalizer=None)
    try:
        loop.run_until_complete(main())
        after = sys.get_asyncgen_hooks()
        trace("put back", after.firstiter is first, after.finalizer)
    finally:
        sys.set_asyncgen_hooks(*before)


# ---- many loops -------------------------------------------------------------------


@parity
def test_fifty_loops_alive_at_once(loop, trace):
    """Each holds one end of a connection whose other end the next one holds."""
    name, count = loops.name_of(loop), 50
    with contextlib.ExitStack() as stack:
        made = [loops.new(name) for _ in range(count)]
        for one in made:
            stack.callback(one.close)
        pairs = [socket.socketpair() for _ in range(count)]
        ends = []
        for number, one in enumerate(made):
            near, far = pairs[number][0], pairs[number - 1][1]
            streams = []
            for sock in (near, far):
                streams.append(one.run_until_complete(
                    asyncio.open_unix_connection(sock=sock)))
            ends.append(streams)
        for number in range(count):
            (_, writer), _ = ends[number]
            writer.write(b"to %d" % number)
        for number, one in enumerate(made):
            _, (reader, _) = ends[number]
            trace(number, one.run_until_complete(reader.read(100)))
        for one, streams in zip(made, ends, strict=True):
            for _, writer in streams:
                writer.close()
                one.run_until_complete(writer.wait_closed())


@parity
def test_runs_that_take_turns_share_tasks_and_connections(loop, trace):
    async def serve(near):
        while data := await loop.sock_recv(near, 100):
            await loop.sock_sendall(near, data[::-1])

    async def count():
        for number in range(100):
            trace.lane("count")(number)
            await asyncio.sleep(0)

    run = loop.run_until_complete
    with pair() as (near, far):
        serving = loop.create_task(serve(near))
        counting = loop.create_task(count())
        for number in range(3):
            far.send(b"%d question" % number)
            trace("answer", run(loop.run_in_executor(None, far.recv, 100)))
            trace("sleep", run(asyncio.sleep(0, number)))
            loop.call_soon(loop.stop)
            loop.run_forever()
        run(counting)
        far.shutdown(socket.SHUT_WR)
        trace("served", run(serving))


@parity
def test_a_loop_inside_another_loops_executor(loop, trace):
    async def inner():
        await asyncio.sleep(0)
        return await asyncio.to_thread(lambda: "from the innermost thread")

    def work():
        with runner(name) as own:
            return own.run(inner())

    name = loops.name_of(loop)
    trace("inner", loop.run_until_complete(loop.run_in_executor(None, work)))


# ---- smaller things that live as long as the loop ---------------------------------


@parity
async def test_an_executor_of_ones_own(loop, trace):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="own") as own:
        def name_of_thread():
            return threading.current_thread().name.partition("_")[0]

        trace("given", await loop.run_in_executor(own, name_of_thread))
        loop.set_default_executor(own)
        trace("default", await loop.run_in_executor(None, name_of_thread))
        trace("to_thread", await asyncio.to_thread(name_of_thread))
        running = loop.run_in_executor(None, threading.Event().wait, 0.01)
        waiting = loop.run_in_executor(None, name_of_thread)
        waiting.cancel()
        trace("cancelled", waiting.cancelled(), await running)
        await loop.shutdown_default_executor()
        trace.call("after shutdown", loop.run_in_executor, None, name_of_thread)


@since_3_13
@parity
async def test_an_executor_that_does_not_end_in_time(loop, trace):
    release = threading.Event()
    waiting = loop.run_in_executor(None, release.wait)
    with pytest.warns(RuntimeWarning) as caught:
        await loop.shutdown_default_executor(0.01)
    trace("warned", [str(warning.message) for warning in caught])
    release.set()
    trace("result", await waiting)


@parity
def test_the_exception_handler_is_given_back(loop, trace):
    trace("at first", loop.get_exception_handler() is not None)
    handler = loop.get_exception_handler()
    loop.set_exception_handler(None)
    trace("none", loop.get_exception_handler())
    loop.call_exception_handler({"message": "to the log"})
    loop.set_exception_handler(handler)
    trace("again", loop.get_exception_handler() is handler)
    loop.call_exception_handler({"message": "to the handler", "future": "x"})
    loop.default_exception_handler({"message": "straight to the log", "task": "y"})


@parity
async def test_addresses_and_names_of_hosts(loop, trace):
    for options in ({}, {"family": socket.AF_INET}, {"type": socket.SOCK_DGRAM},
                    {"proto": socket.IPPROTO_TCP}, {"flags": socket.AI_NUMERICHOST}):
        found = await loop.getaddrinfo("127.0.0.1", 80, **options)
        trace(options, [[int(part) for part in entry[:3]] + [entry[4]]
                        for entry in found])
    trace("passive", await loop.getaddrinfo(
        None, "http", family=socket.AF_INET6, type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE) is not None)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    trace("name", await loop.getnameinfo(("::1", 80, 0, 0), flags=numeric))
    await trace.wait("wrong", loop.getnameinfo(("127.0.0.1",), numeric))
