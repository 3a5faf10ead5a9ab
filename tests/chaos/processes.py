"""Fuzzer of subprocesses: pipes, and kills in the iteration that starts or reads.

A step is ["turn", count], ["start", size], ["write", number, size], ["kill", number],
["close stdin", number] or ["read", number].
"""

import asyncio

from .pattern import piece
from .world import Finding, World, check

# Processes are slow to make.
MOST = 4


def generate(random):
    steps = [["setup", {"sq_entries": random.choice((8, 256))}]]
    for _ in range(random.randint(2, 16)):
        what, number = random.random(), random.randrange(MOST)
        size = int(2 ** random.uniform(0, 16))
        if what < 0.3:
            steps.append(["turn", random.randint(1, 10)])
        elif what < 0.5:
            # A third is killed at once, before connection_made().
            steps.append(["start", random.randrange(3)])
        elif what < 0.7:
            steps.append(["write", number, size])
        else:
            steps.append([random.choice(("kill", "close stdin", "abort")), number])
    return steps


def run(driver, seed, steps):
    world = World(driver, seed, sq_entries=steps[0][1]["sq_entries"])
    children = []
    for kind, *rest in steps[1:]:
        if kind == "turn":
            world.turn(rest[0])
        elif kind == "start":
            if len(children) < MOST:
                children.append(Child(world))
                world.turn(rest[0])
        elif rest[0] < len(children):
            children[rest[0]].do(kind, *rest[1:])
        world.check_problems()
    for child in children:
        child.finish()
    return world.close()


class Child(asyncio.SubprocessProtocol):
    """`cat`, whose output must be its input."""

    def __init__(self, world):
        self.world = world
        self.transport = None
        self.written = self.got = 0
        self.calls = []
        self.killed = self.closed = False
        self.task = world.loop.create_task(
            world.loop.subprocess_exec(lambda: self, "cat", stderr=None))

    def __repr__(self):
        return f"<Child {self.calls} written {self.written} got {self.got}>"

    def connection_made(self, transport):
        self.calls.append("made")
        self.transport = transport

    def pipe_data_received(self, fd, data):
        check(data == piece(self.got, len(data)), "wrong bytes at", self.got, self)
        self.got += len(data)

    def pipe_connection_lost(self, fd, exc):
        self.calls.append(f"pipe {fd} lost")

    def process_exited(self):
        self.calls.append("exited")

    def connection_lost(self, exc):
        self.calls.append("lost")

    def do(self, kind, size=0):
        if self.transport is None:
            return
        stdin = self.transport.get_pipe_transport(0)
        if kind == "write" and not (self.closed or self.killed or stdin.is_closing()):
            data = piece(self.written, size)
            self.written += size
            stdin.write(data)
        elif kind == "kill":
            self.killed = True
            try:
                self.transport.kill()
            except ProcessLookupError:
                pass
        elif kind == "close stdin":
            self.closed = True
            stdin.close()
        elif kind == "abort" and not stdin.is_closing():
            # asyncio's abort() fails on a pipe that is closed.
            self.closed = self.killed = True
            stdin.abort()

    def finish(self):
        world = self.world
        world.until(self.task.done, f"started: {self!r}")
        if self.task.exception():
            raise Finding(repr(self.task.exception()))
        self.do("close stdin")
        world.until(lambda: "lost" in self.calls, f"ended: {self!r}")
        world.turn(2)
        for call in ("made", "exited", "lost", "pipe 0 lost", "pipe 1 lost"):
            check(self.calls.count(call) == 1, call, "not once", self)
        check(self.killed or self.got == self.written, "bytes are missing", self)
        check(self.transport.get_returncode() is not None, "no exit status")
        self.transport.close()
