"""Random sequences of operations: what they do to our loop they do to asyncio's."""

import asyncio
import contextlib
import socket

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from . import loops
from .endpoints import FAMILIES, KINDS, pattern, reset, settle, wired
from .framework import compare

EXAMPLES = 150
MUCH = 4 << 20

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # the same examples in every run
    phases=[Phase.generate],  # making a failure smaller takes minutes if it hangs
    database=None,
    suppress_health_check=list(HealthCheck),
)
each_loop = pytest.mark.parametrize("loop_name", loops.under_test())

CALLBACK_ACTIONS = ("call_soon", "call_past", "cancel", "raise", "stop", "threadsafe",
                    "interrupt")
callbacks = st.recursive(
    st.tuples(st.sampled_from(CALLBACK_ACTIONS), st.just(())),
    lambda inner: st.tuples(st.sampled_from(CALLBACK_ACTIONS), st.tuples(inner, inner)),
    max_leaves=12,
)


class Scheduling:
    """Carries out a tree of callbacks; every callback leaves its number."""

    def __init__(self, loop, trace):
        self.loop = loop
        self.trace = trace
        self.handles = []
        self.count = 0

    def schedule(self, tree):
        action, _ = tree
        number, self.count = self.count, self.count + 1
        arguments = (self.run, number, tree)
        if action == "call_past":
            handle = self.loop.call_at(self.loop.time() - 1 - number, *arguments)
        elif action == "threadsafe":
            handle = self.loop.call_soon_threadsafe(*arguments)
        else:
            handle = self.loop.call_soon(*arguments)
        self.handles.append(handle)

    def run(self, number, tree):
        action, inner = tree
        self.trace("run", number, action)
        for branch in inner:
            self.schedule(branch)
        if action == "cancel":
            self.handles[number // 2].cancel()
            self.handles[-1].cancel()
        elif action == "stop":
            self.loop.stop()
        elif action == "raise":
            raise ValueError(number)
        elif action == "interrupt":
            raise KeyboardInterrupt


def schedule_all(loop, trace, trees):
    scheduling = Scheduling(loop, trace)
    for tree in trees:
        scheduling.schedule(tree)
    for _ in range(30):
        loop.call_soon(loop.stop)
        with contextlib.suppress(KeyboardInterrupt):
            loop.run_forever()
        trace("iteration")
    trace("cancelled", [handle.cancelled() for handle in scheduling.handles])


@each_loop
@bounded
@given(trees=st.lists(callbacks, min_size=1, max_size=5))
def test_callbacks(loop_name, trees):
    compare(schedule_all, loop_name, {"trees": trees})


def run_timers(loop, trace, delays, cancelled):
    start = loop.time() + 0.001
    handles = [
        loop.call_at(start + 0.00005 * delay, trace, "timer", delay) for delay in delays
    ]
    for number in cancelled:
        handles[number % len(handles)].cancel()
    loop.call_at(start + 0.00005 * (max(delays) + 1), loop.stop)
    loop.run_forever()
    trace("stopped")


@each_loop
@bounded
@given(
    delays=st.lists(st.integers(0, 100), min_size=1, max_size=60, unique=True),
    cancelled=st.lists(st.integers(0, 100), max_size=30),
)
def test_timers(loop_name, delays, cancelled):
    compare(run_timers, loop_name, {"delays": delays, "cancelled": cancelled})


STREAM_ACTIONS = ("write", "write much", "writelines", "write_eof", "pause", "resume",
                  "peer sends", "peer reads", "peer ends", "peer resets", "peer closes",
                  "close", "abort", "limits", "no limits")
stream_steps = st.lists(
    st.tuples(st.sampled_from(STREAM_ACTIONS), st.integers(1, 20_000)),
    min_size=3,
    max_size=14,
)


class Stream:
    """Carries out steps on a transport and on its peer, one settled after the other."""

    eof_written = False

    def __init__(self, loop, trace, transport, protocol, peer):
        self.loop = loop
        self.trace = trace
        self.transport = transport
        self.protocol = protocol
        self.peer = peer
        peer.setblocking(False)
        self.expected, self.received = bytearray(), bytearray()
        self.aborted = False

    async def step(self, action, size):
        if action.startswith("peer"):
            await self.step_of_the_peer(action, size)
        elif not self.protocol.over:
            # After connection_lost asyncio stumbles over its own empty fields.
            self.step_of_the_transport(action, size)
        # Enough rounds for what several sends have left: asyncio fills one buffer of a
        # BufferedProtocol in each.
        await settle(self.loop, rounds=10)
        self.trace("then", self.transport.is_closing(), self.transport.is_reading())

    def step_of_the_transport(self, action, size):
        call, transport = self.trace.call, self.transport
        if action == "write":
            self.write(transport.write, pattern(size))
        elif action == "write much":
            self.write(transport.write, pattern(MUCH, size))
        elif action == "writelines" and not transport.is_closing():
            # While closing, 3.13.0 fails here with a TypeError of its own making.
            self.write(transport.writelines, [pattern(size), b"", bytearray(b"line")])
        elif action == "write_eof":
            self.eof_written = True
            call(action, transport.write_eof)
        elif action in ("pause", "resume"):
            # asyncio says eof_received again with every resume after the end.
            if not self.protocol.ended:
                call(action, getattr(transport, action + "_reading"))
        elif action in ("close", "abort"):
            self.aborted |= action == "abort"
            call(action, getattr(transport, action))
        elif action in ("limits", "no limits"):
            high = size if action == "limits" else 2 * MUCH
            call(action, transport.set_write_buffer_limits, high=high)

    def write(self, function, data):
        # A transport that is closing takes more for as long as it still flushes.
        transport = self.transport
        taken = not transport.is_closing() or transport.get_write_buffer_size()
        if taken and not self.eof_written:
            self.expected += data if isinstance(data, bytes) else b"".join(data)
        # The refusals of writelines were worded as those of write before 3.12.
        self.trace.call_class("write", function, data)

    async def step_of_the_peer(self, action, size):
        if self.peer.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            if action == "peer sends":
                self.peer.sendall(pattern(size))
            elif action == "peer reads":
                await self.read_all()
            elif action == "peer ends":
                self.peer.shutdown(socket.SHUT_WR)
            elif action == "peer resets":
                reset(self.peer)
            elif action == "peer closes":
                self.peer.close()

    async def read_all(self):
        """Everything written must come, unless the connection was cut."""
        while len(self.received) < len(self.expected):
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                chunk = self.peer.recv(1 << 20)
                self.received += chunk
                if not chunk:
                    break
            if self.aborted or self.protocol.failed:
                break
        assert self.expected.startswith(self.received)
        cut = self.aborted or self.protocol.failed
        self.trace("peer has", "a part" if cut else len(self.received))


def quiet(kind):
    """Which of two errors a reset is noticed by, read or write, is timing."""

    class Quiet(kind):
        ended = over = failed = False

        def eof_received(self):
            self.ended = True
            return super().eof_received()

        def connection_lost(self, exc):
            self.over = True
            self.failed = exc is not None
            if isinstance(exc, ConnectionError):
                exc = "a connection error"
            super().connection_lost(exc)

    return Quiet


async def converse(loop, trace, family, kind, eof_result, steps):
    protocol = quiet(kind)(trace.lane("protocol"), eof_result=eof_result)
    transport, peer = await wired(loop, family, protocol)
    stream = Stream(loop, trace, transport, protocol, peer)
    with peer:
        for action, size in steps:
            protocol.lane(action)
            await stream.step(action, size)
        if not protocol.over:
            transport.abort()
        await protocol.happens("connection_lost")
    await settle(loop)


@each_loop
@bounded
@given(
    family=st.sampled_from(FAMILIES),
    kind=st.sampled_from(KINDS),
    eof_result=st.booleans(),
    steps=stream_steps,
)
def test_streams(loop_name, family, kind, eof_result, steps):
    given = {"family": family, "kind": kind, "eof_result": eof_result, "steps": steps}
    compare(converse, loop_name, given)
