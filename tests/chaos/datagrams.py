"""Fuzzer of datagram endpoints: each datagram comes whole, once and in order.

A lossless Unix socket pair, or UDP over the loopback interface, where the kernel may
drop what a full receiver has no room for. A step is ["turn", count], ["do", action,
number] or ["on", callback, action, number].
"""

import asyncio
import collections
import contextlib
import socket
import weakref

from .pattern import piece
from .world import Boom, Finding, World, check

ACTIONS = ("send", "send", "send", "burst", "pause", "resume", "close", "abort",
           "limits", "raise", "interrupt", "stop")
PEER_ACTIONS = ("peer sends", "peer sends", "peer burst", "peer reads", "peer reads",
                "peer closes")
CALLBACKS = ("connection_made", "datagram", "datagram", "error", "pause_writing",
             "resume_writing", "connection_lost")


def generate(random):
    setup = {
        "family": random.choice(("unix", "connected", "open")),
        "given": random.random() < 0.3,
        "sq_entries": random.choice((8, 256)),
    }
    steps = [["setup", setup]]
    for _ in range(random.randint(3, 40)):
        what, number = random.random(), int(2 ** random.uniform(0, 13))
        if what < 0.3:
            steps.append(["turn", random.randint(1, 3)])
        elif what < 0.55:
            steps.append(["do", random.choice(PEER_ACTIONS), number])
        elif what < 0.8:
            steps.append(["do", random.choice(ACTIONS), number])
        else:
            steps.append(["on", random.choice(CALLBACKS), random.choice(ACTIONS),
                          number])
    return steps


def run(driver, seed, steps):
    setup = steps[0][1]
    world = World(driver, seed, sq_entries=setup["sq_entries"])
    ends = Ends(world, setup)
    world.run(ends.open())
    try:
        for step in steps[1:]:
            if step[0] == "turn":
                world.turn(step[1])
            elif step[0] == "on":
                ends.scripts[step[1]].append(step[2:])
            else:
                with contextlib.suppress(KeyboardInterrupt, Boom):
                    ends.do(*step[1:])
            world.check_problems()
        ends.finish()
    except Finding as exc:
        exc.add_note(repr(ends))
        raise
    world.watched = [weakref.ref(ends.transport)]
    del ends.transport
    return world.close()


class Ends(asyncio.DatagramProtocol):
    """The endpoint's protocol, the peer, and what both have sent and got."""

    def __init__(self, world, setup):
        self.world = world
        self.setup = setup
        self.lossless = setup["family"] == "unix" and world.driver != "chaos"
        self.scripts = collections.defaultdict(collections.deque)
        self.transport = None
        self.sent, self.peer_sent = [], []
        # The place in the other side's list of the next datagram that may come.
        self.next_in, self.next_out = 0, 0
        self.losses = []
        self.peer_closed = self.aborted = self.dropped = False
        self.errors_count = 0

    def __repr__(self):
        return (f"<Ends {self.setup} sent {len(self.sent)} of which {self.next_out} "
                f"came, peer sent {len(self.peer_sent)} of which {self.next_in} came, "
                f"{self.losses} {self.transport!r}>")

    async def open(self):
        loop, family = self.world.loop, self.setup["family"]
        if family == "unix":
            near, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        else:
            self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.peer.bind(("127.0.0.1", 0))
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            near.bind(("127.0.0.1", 0))
            if family == "connected":
                near.connect(self.peer.getsockname())
        self.peer.setblocking(False)
        self.to = self.peer.getsockname() if family == "open" else None
        if self.setup["given"] or family != "open":
            await loop.create_datagram_endpoint(lambda: self, sock=near)
        else:
            near.close()
            await loop.create_datagram_endpoint(
                lambda: self, local_addr=("127.0.0.1", 0))
        if family != "unix":
            self.peer.connect(self.transport.get_extra_info("sockname"))

    # ---- the protocol

    def called(self, callback):
        check(not self.losses or callback == "connection_lost", callback, "too late")
        if self.scripts[callback]:
            self.do(*self.scripts[callback].popleft())

    def connection_made(self, transport):
        self.transport = transport
        self.called("connection_made")

    def datagram_received(self, data, address):
        self.next_in = self.found(data, self.peer_sent, self.next_in)
        self.called("datagram")

    def error_received(self, exc):
        self.errors_count += 1
        check(self.peer_closed or self.world.driver == "chaos", "error", repr(exc))
        self.called("error")

    def pause_writing(self):
        self.called("pause_writing")

    def resume_writing(self):
        self.called("resume_writing")

    def connection_lost(self, exc):
        self.losses.append(exc)
        self.called("connection_lost")

    def found(self, data, sent, start):
        """The place behind this datagram: at `start`, or later where some may be
        dropped."""
        most = start + 1 if self.lossless else len(sent)
        for place in range(start, min(most, len(sent))):
            if data == sent[place]:
                return place + 1
        check(False, "a datagram that was not sent, or not now:", data[:20], self)

    # ---- actions

    def do(self, action, number):
        if action.startswith("peer"):
            if not self.peer_closed:
                ACTS[action](self, number)
        elif action in ("raise", "interrupt", "stop"):
            ACTS[action](self, number)
        elif self.transport is not None and not self.transport.is_closing():
            ACTS[action](self, number)

    def datagram(self, sent, number):
        """Unlike all others: its number is in it."""
        return b"%d:" % len(sent) + piece(len(sent), number)

    def send(self, number):
        data = self.datagram(self.sent, number)
        self.sent.append(data)
        self.transport.sendto(data, self.to)

    def burst(self, number):
        for _ in range(30):
            if not self.transport.is_closing():
                self.send(number)

    def abort(self, number):
        self.aborted = True
        self.transport.abort()

    def boom(self, number):
        raise Boom

    def interrupt(self, number):
        raise KeyboardInterrupt

    def peer_sends(self, number):
        data = self.datagram(self.peer_sent, number)
        try:
            self.peer.send(data)
            self.peer_sent.append(data)
        except BlockingIOError:
            pass
        except OSError:
            # The endpoint is closed: Linux drops what the peer has not read.
            self.dropped = True

    def peer_burst(self, number):
        for _ in range(30):
            self.peer_sends(number)

    def peer_reads(self, number=0):
        for _ in range(100):
            try:
                data = self.peer.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                # Told once: the endpoint was closed with datagrams unread.
                continue
            self.next_out = self.found(data, self.sent, self.next_out)

    def peer_closes(self, number):
        self.peer_closed = True
        self.peer.close()

    # ---- the end

    def all_came(self):
        if not self.peer_closed:
            self.peer_reads()
        if self.losses or self.transport.is_closing() or not self.lossless:
            return True
        self.transport.resume_reading()
        return self.peer_closed or (self.next_in == len(self.peer_sent)
                                    and self.next_out == len(self.sent))

    def finish(self):
        self.scripts.clear()
        if not self.losses:
            self.transport.resume_reading()
        self.world.turn(3)
        self.world.until(self.all_came, "all came")
        self.transport.close()
        self.world.until(lambda: (self.all_came(), self.losses)[1], "connection_lost")
        self.all_came()
        if self.lossless and not (self.aborted or self.peer_closed or self.dropped):
            check(self.next_out == len(self.sent), "datagrams are missing", self)
        self.world.turn(2)
        check(len(self.losses) == 1, "connection_lost twice", self)
        self.peer.close()


ACTS = {
    "send": Ends.send,
    "burst": Ends.burst,
    "pause": lambda self, number: self.transport.pause_reading(),
    "resume": lambda self, number: self.transport.resume_reading(),
    "close": lambda self, number: self.transport.close(),
    "abort": Ends.abort,
    "limits": lambda self, number: self.transport.set_write_buffer_limits(high=number),
    "raise": Ends.boom,
    "interrupt": Ends.interrupt,
    "stop": lambda self, number: self.world.loop.stop(),
    "peer sends": Ends.peer_sends,
    "peer burst": Ends.peer_burst,
    "peer reads": Ends.peer_reads,
    "peer closes": Ends.peer_closes,
}
