"""IOThreadGroup: several IOThreads that share work and serve the same addresses."""

import asyncio
import itertools
import time

from uring_loop.threads.iothread import IOThread
from uring_loop.threads.sharded_server import serve


class IOThreadGroup:
    """`count` IOThreads, each with its own loop.

    name          the threads are named "name-0", "name-1" and so on
    daemon        as for IOThread
    cpu_affinity  None, or one value for each thread, as for IOThread
    loop_options  those of `Loop`, for every thread

    If a thread cannot be started, the others are stopped and joined, and its exception
    is
    raised. As a context manager (`with`, `async with`), the group stops and joins all
    threads at the end of the block.
    """

    def __init__(self, count, name="IOThreadGroup", *, daemon=False, cpu_affinity=None,
                 **loop_options):
        if count < 1:
            raise ValueError(f"a group has at least one thread, not {count}")
        cpus = [None] * count if cpu_affinity is None else list(cpu_affinity)
        if len(cpus) != count:
            raise ValueError(
                f"cpu_affinity has {len(cpus)} items for {count} threads")
        self.threads = ()
        self._servers = []
        self._turns = itertools.count()
        try:
            for number in range(count):
                self.threads += (IOThread(
                    f"{name}-{number}", daemon=daemon, cpu_affinity=cpus[number],
                    **loop_options),)
        except BaseException:
            self.stop()
            self.join()
            raise

    def __repr__(self):
        return f"<{type(self).__name__} {list(self.threads)}>"

    # ---- work

    def run_on_least_loaded(self, coro):
        """Call IOThread.run(coro) of the thread with the least `load`; threads with
        equal load take turns."""
        turn = next(self._turns) % len(self.threads)
        threads = self.threads[turn:] + self.threads[:turn]
        return min(threads, key=lambda thread: thread.load).run(coro)

    def create_server(self, protocol_factory, host=None, port=None, *, path=None,
                      sock=None, reuse_port=None, **options):
        """Serve with protocols in all threads; returns a Future of the ShardedServer.

        host, port   the address, as for loop.create_server(). Every thread listens with
                     a socket of its own (SO_REUSEPORT), and the kernel distributes
                     connections by a hash of their addresses. Another process of the
                     same user may listen there, too. With reuse_port=False, as below
        path, sock   a Unix socket's path, or a bound socket: the first thread accepts
                     and hands each connection to the thread with the least `load`
        options      other options of loop.create_server(): backlog, ssl, family, ...

        A connection's protocol lives in the thread that serves it. The Future raises
        errors, such as an address in use; then no thread listens.
        """
        places = {"host": host, "port": port, "path": path, "sock": sock}
        where = {name: value for name, value in places.items() if value is not None}
        by_address = path is None and sock is None
        if not by_address and (len(where) > 1 or reuse_port):
            raise ValueError(
                "path and sock exclude each other, host, port and reuse_port")
        shared = by_address and reuse_port is not False
        return self.threads[0].run(
            self._serve(protocol_factory, where, shared, options))

    async def _serve(self, *args):
        server = await serve(self.threads, *args)
        self._servers.append(server)
        return server

    def start_server(self, client_connected_cb, host=None, port=None, *, limit=2**16,
                     **options):
        """create_server() with streams: the callback or coroutine function is called
        with a StreamReader (with this limit) and a StreamWriter for each connection."""
        def protocol():
            loop = asyncio.get_running_loop()
            reader = asyncio.StreamReader(limit=limit, loop=loop)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

        return self.create_server(protocol, host, port, **options)

    # ---- the end

    def stop(self, grace_seconds=0):
        """Stop the servers and then all threads; returns at once.

        The threads stop listening. Connections of the group's servers have
        `grace_seconds` (None: no limit) to end by themselves and are then aborted. Then
        every thread finishes as by IOThread.stop(). Another call can shorten the grace
        period.
        """
        for number, thread in enumerate(self.threads):
            try:
                thread.run(self._finish(number, grace_seconds))
            except RuntimeError:
                # The thread is stopping already.
                thread.stop()

    async def _finish(self, number, grace_seconds):
        try:
            await asyncio.gather(*(
                server._close_shard(server._shards[number], grace_seconds)
                for server in self._servers))
        finally:
            self.threads[number].stop()

    def join(self, timeout=None):
        """Wait at most `timeout` seconds for all threads; raise the exception of the
        first thread that ended with one. Raises TimeoutError if a thread still runs."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self.threads:
            if deadline is not None:
                timeout = max(0, deadline - time.monotonic())
            thread._wait(timeout)
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()
        self.join()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        self.stop()
        await asyncio.to_thread(self.join)
