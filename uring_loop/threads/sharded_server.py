"""ShardedServer: a server whose connections are distributed over several IOThreads.

Either every thread listens at the same address with its own socket (SO_REUSEPORT) and
the kernel distributes the connections, or one thread accepts and hands each connection
to the thread with the least load. In both cases each thread has an asyncio.Server.
"""

import asyncio
import socket
from asyncio import constants

from uring_loop import _compat

# The options of a listening socket that the sockets of the other threads need as well.
COPIED_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
)


async def serve(threads, factory, where, shared, options):
    """Start a ShardedServer; runs in the first of the threads.

    `where` holds the address arguments of loop.create_server() or create_unix_server(),
    `options` the other ones; with `shared` every thread listens.
    """
    loop = asyncio.get_running_loop()
    if "path" in where:
        first = await loop.create_unix_server(
            factory, **where, **options, start_serving=False)
    else:
        first = await loop.create_server(
            factory, **where, **options, reuse_port=shared or None,
            start_serving=False)
    server = ShardedServer(threads, first)
    threads[0]._last_calls.add(server._close_first)
    try:
        await server._start(factory, shared, options)
    except BaseException:
        await server._close(0)
        raise
    return server


class ShardedServer:
    """The server of IOThreadGroup.create_server() and start_server()."""

    def __init__(self, threads, first):
        # This server resolved the address and checked the arguments; it never serves.
        self._first = first
        self._shards = [Shard(thread) for thread in threads]
        self._acceptor = None
        self._addresses = tuple(sock.getsockname() for sock in first.sockets)

    @property
    def addresses(self):
        """The addresses, as of socket.getsockname(): one for each family."""
        return self._addresses

    def close(self, grace_seconds=None):
        """Stop listening in all threads. Any thread may call it, repeatedly.

        Returns a concurrent.futures.Future, which is done when the last connection has
        ended. Connections that are open after `grace_seconds` are aborted (None: no
        limit). Raises RuntimeError if the group has been stopped, which closes the
        server, too.
        """
        return self._shards[0].thread.run(self._close(grace_seconds))

    async def _start(self, factory, shared, options):
        backlog = options.get("backlog", 100)
        copies = self._first.sockets if shared else ()
        for outcome in await self._in_each(Shard.start, factory, copies, options):
            if outcome is not None:
                raise outcome
        if not shared:
            self._acceptor = Acceptor(self._first.sockets, self._shards, backlog)

    async def _close(self, grace_seconds):
        outcomes = await self._in_each(self._close_shard, grace_seconds)
        for shard, outcome in zip(self._shards, outcomes):
            # The connections of a thread that has ended have ended with it.
            if outcome is not None and shard.thread.state == "running":
                raise outcome

    async def _in_each(self, method, *args):
        """Run method(shard, *args) for each shard in its thread; returns the
        exceptions, with None for success."""
        async def one(shard):
            await asyncio.wrap_future(shard.thread.run(method(shard, *args)))

        return await asyncio.gather(*map(one, self._shards), return_exceptions=True)

    async def _close_shard(self, shard, grace_seconds):
        if shard is self._shards[0]:
            self._close_first()
            shard.thread._last_calls.discard(self._close_first)
        await shard.close(grace_seconds)

    def _close_first(self):
        if self._acceptor is not None:
            self._acceptor.stop()
        self._first.close()

    def __repr__(self):
        return (f"<{type(self).__name__} {', '.join(map(str, self._addresses))} "
                f"in {len(self._shards)} threads>")


class Shard:
    """One thread's share of a server: its listeners and its connections."""

    def __init__(self, thread):
        self.thread = thread
        self.server = None
        self.ended = None

    async def start(self, factory, originals, options):
        sockets = []
        self.factory = factory
        self.tls = (options.get("ssl"), options.get("ssl_handshake_timeout"),
                    options.get("ssl_shutdown_timeout"))
        try:
            for original in originals:
                sockets.append(listener_like(original))
            self.server = CountingServer(
                self.thread.loop, sockets, factory, self.tls[0],
                options.get("backlog", 100), *self.tls[1:])
            self.server.thread = self.thread
            self.thread._last_calls.add(self.server.close)
            await self.server.start_serving()
        except BaseException:
            if self.server is not None:
                self.server.close()
            for sock in sockets:
                sock.close()
            raise

    def take(self, conn):
        """Serve an accepted socket; called in the thread that accepted it."""
        try:
            with self.thread._accepting():
                # For a thread that is stopped before connect() begins.
                self.thread._last_calls.add(conn.close)
                self.thread.run(self.connect(conn))
        except RuntimeError:
            # The thread has been stopped: close the connection.
            conn.close()

    async def connect(self, conn):
        self.thread._last_calls.discard(conn.close)
        if self.ended is not None:
            conn.close()
            return
        context, *timeouts = self.tls
        await self.thread.loop._accept_connection2(
            self.factory, conn, {}, context, self.server, *timeouts,
            **_compat.context_option(_compat.accepted_context()))

    async def close(self, grace_seconds):
        if self.server is None:
            return
        if self.ended is None:
            self.ended = asyncio.ensure_future(self.server.wait_closed())
            try:
                # Up to 3.12, wait_closed() waits for connections only if it begins
                # before close().
                await asyncio.sleep(0)
            finally:
                # Cancelled or not: whoever calls this again only waits.
                self.server.close()
                self.thread._last_calls.discard(self.server.close)
        # Not awaited itself: a caller that is cancelled would cancel it for all.
        await asyncio.wait([self.ended], timeout=grace_seconds)
        if not self.ended.done():
            for transport in list(self.thread.loop._transports.values()):
                if getattr(transport, "_server", None) is self.server:
                    transport.abort()
            await asyncio.wait([self.ended])


class CountingServer(asyncio.Server):
    """An asyncio.Server that counts its connections in its IOThread.

    Transports attach and detach in the thread that serves them. The size of
    loop._transports is no substitute: transports that have ended stay in it for a
    while. """

    def _attach(self, *args):
        super()._attach(*args)
        self.thread._connections_count += 1

    def _detach(self, *args):
        super()._detach(*args)
        self.thread._connections_count -= 1


def listener_like(original):
    """Another listening socket at the same address (SO_REUSEPORT)."""
    sock = socket.socket(original.family, original.type, original.proto)
    try:
        for level, option in COPIED_OPTIONS:
            sock.setsockopt(level, option, original.getsockopt(level, option))
        if sock.family == socket.AF_INET6:
            sock.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, original.getsockopt(
                    socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        sock.setblocking(False)
        sock.bind(original.getsockname())
    except BaseException:
        sock.close()
        raise
    return sock


class Acceptor:
    """Accepts in the thread that makes it, and distributes the connections."""

    def __init__(self, sockets, shards, backlog):
        self.loop = asyncio.get_running_loop()
        self.shards = shards
        self.backlog = backlog
        self.pauses = {}
        # Duplicates: the sockets of asyncio.Server have no accept().
        self.listeners = [sock.dup() for sock in sockets]
        for listener in self.listeners:
            listener.listen(backlog)
            self.watch(listener)

    def watch(self, listener):
        self.pauses.pop(listener, None)
        self.loop.add_reader(listener, self.accept, listener)

    def accept(self, listener):
        for _ in range(self.backlog + 1):
            try:
                conn, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self.pause(listener, exc)
                return
            conn.setblocking(False)
            min(self.shards, key=lambda shard: shard.thread.load).take(conn)

    def pause(self, listener, exc):
        """Stop accepting for asyncio's delay when descriptors or memory are
        exhausted."""
        self.loop.call_exception_handler({
            "message": "socket.accept() failed",
            "exception": exc,
            "socket": listener,
        })
        self.loop.remove_reader(listener)
        self.pauses[listener] = self.loop.call_later(
            constants.ACCEPT_RETRY_DELAY, self.watch, listener)

    def stop(self):
        for pause in self.pauses.values():
            pause.cancel()
        for listener in self.listeners:
            self.loop.remove_reader(listener)
            listener.close()
        self.listeners = []
