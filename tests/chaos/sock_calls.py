"""Fuzzer of sock_*(): tasks on one pair of sockets, cancelled at any point.

What a cancelled sock_recv() has not returned is still in the socket; a cancelled
sock_sendall() has sent a part, and the peer's stream ends there. A step is
["turn", count], ["thread", 0 or 1], ["start", what, size], ["cancel", number] or
["peer", what, size].
"""

import asyncio
import contextlib
import socket

from .pattern import piece
from .world import World, check

TASKS = ("recv", "recv", "recv_into", "sendall", "sendall", "reader", "no reader",
         "accept", "connect")
PEER = ("sends", "sends", "reads", "reads", "floods", "closes")
LONGEST = 200_000


def generate(random):
    steps = [["setup", {"sq_entries": random.choice((8, 256))}]]
    for _ in range(random.randint(3, 40)):
        what, size = random.random(), int(2 ** random.uniform(0, 17))
        if what < 0.3:
            steps.append(["turn", random.randint(1, 3)])
        elif what < 0.33:
            steps.append(["thread", random.randint(0, 1)])
        elif what < 0.6:
            steps.append(["start", random.choice(TASKS), size])
        elif what < 0.75:
            steps.append(["cancel", size])
        else:
            steps.append(["peer", random.choice(PEER), size])
    return steps


def run(driver, seed, steps):
    world = World(driver, seed, sq_entries=steps[0][1]["sq_entries"])
    pair = Pair(world)
    for kind, *rest in steps[1:]:
        if kind == "turn":
            world.turn(rest[0])
        elif kind == "thread":
            world.in_thread = bool(rest[0])
        else:
            getattr(pair, kind)(*rest)
        world.check_problems()
    pair.finish()
    return world.close()


class Pair:
    """Our socket, the peer's, and the tasks on ours: one reads and one writes."""

    def __init__(self, world):
        self.world = world
        self.ours, self.theirs = socket.socketpair()
        self.listener = socket.create_server(("127.0.0.1", 0))
        for sock in (self.ours, self.theirs, self.listener):
            sock.setblocking(False)
        self.tasks = {}
        self.sent, self.got = 0, 0
        self.written, self.arrived = 0, 0
        self.cut = self.peer_gone = False

    def __repr__(self):
        return (f"<Pair sent {self.sent} got {self.got} written {self.written} "
                f"arrived {self.arrived} {self.tasks}>")

    # ---- steps

    def start(self, what, size):
        side = SIDES[what]
        if side in self.tasks and not self.tasks[side].done():
            return
        if side == "write" and self.cut:
            return
        loop = self.world.loop
        if what == "reader":
            # A callback of the user's beside or instead of a coroutine.
            loop.add_reader(self.ours, self.readable)
        elif what == "no reader":
            loop.remove_reader(self.ours)
        else:
            loop.remove_reader(self.ours)
            self.tasks[side] = loop.create_task(getattr(self, what)(size))

    def cancel(self, number):
        if self.tasks:
            list(self.tasks.values())[number % len(self.tasks)].cancel()

    def peer(self, what, size):
        if self.peer_gone:
            return
        if what == "reads":
            self.peer_reads()
        elif what == "closes" and size % 4 == 0:
            self.peer_gone = True
            self.theirs.close()
        elif what in ("sends", "floods"):
            for _ in range(20 if what == "floods" else 1):
                try:
                    self.sent += self.theirs.send(piece(self.sent, size))
                except BlockingIOError:
                    pass
                except OSError:
                    # A reset by the chaos driver.
                    self.peer_gone = True
                    return

    # ---- the tasks

    def received(self, data):
        check(bytes(data) == piece(self.got, len(data)), "wrong bytes at", self.got)
        self.got += len(data)

    def readable(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.received(self.ours.recv(1000))

    async def recv(self, size):
        with self.errors():
            self.received(await self.world.loop.sock_recv(self.ours, size))

    async def recv_into(self, size):
        buffer = bytearray(size)
        with self.errors():
            count = await self.world.loop.sock_recv_into(self.ours, buffer)
            self.received(buffer[:count])

    async def sendall(self, size):
        data = piece(self.written, size)
        self.written += size
        self.cut = True
        with self.errors():
            await self.world.loop.sock_sendall(self.ours, data)
            self.cut = False

    async def accept(self, size):
        with self.errors(), socket.socket() as far:
            far.setblocking(False)
            far.connect_ex(self.listener.getsockname())
            conn, _ = await self.world.loop.sock_accept(self.listener)
            conn.close()

    async def connect(self, size):
        with self.errors(), socket.socket() as near:
            near.setblocking(False)
            await self.world.loop.sock_connect(near, self.listener.getsockname())

    @contextlib.contextmanager
    def errors(self):
        """Faults of the system, which a program has to bear."""
        try:
            yield
        except OSError as exc:
            check(self.peer_gone or self.world.driver == "chaos", repr(exc), self)

    def peer_reads(self):
        try:
            data = self.theirs.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            self.peer_gone = True
            return
        check(data == piece(self.arrived, len(data)), "the peer got wrong bytes", self)
        self.arrived += len(data)

    # ---- the end

    def finish(self):
        loop, world = self.world.loop, self.world
        loop.remove_reader(self.ours)
        for task in self.tasks.values():
            if not (task.done() or task is self.tasks.get("write")):
                task.cancel()

        def all_ended():
            if not self.peer_gone:
                self.peer_reads()
            return all(task.done() for task in self.tasks.values())

        world.until(all_ended, f"tasks end: {self!r}")
        world.run(self.rest())
        for task in self.tasks.values():
            if not task.cancelled() and task.exception():
                raise task.exception()
        for sock in (self.ours, self.theirs, self.listener):
            sock.close()

    async def rest(self):
        """What was in flight both ways when the tasks ended."""
        while self.got < self.sent and not self.peer_gone:
            before = self.got
            await self.recv(LONGEST)
            if self.got == before:
                # A reset by the chaos driver.
                check(self.world.driver == "chaos", "no more comes", self)
                return
        if not (self.cut or self.peer_gone):
            while self.arrived < self.written and not self.peer_gone:
                self.peer_reads()
                await asyncio.sleep(0)


SIDES = {
    "recv": "read", "recv_into": "read", "reader": "read", "no reader": "read",
    "sendall": "write", "accept": "accept", "connect": "connect",
}
