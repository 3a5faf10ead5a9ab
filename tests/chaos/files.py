"""Fuzzer of files: reads and writes at known places, cancelled at any point.

A cancelled write may have been done or not; every other one has been. A step is
["turn", count], ["write", place, size], ["read", place, size] or ["cancel", number].
"""

import asyncio
import tempfile

import uring_loop

from .pattern import piece
from .world import World, check

BLOCK = 4096
BLOCKS = 64


def generate(random):
    steps = [["setup", {"sq_entries": random.choice((8, 8, 256)),
                        "buffered": random.random() < 0.3}]]
    for _ in range(random.randint(3, 40)):
        what = random.random()
        if what < 0.3:
            steps.append(["turn", random.randint(1, 3)])
        elif what < 0.4:
            steps.append(["cancel", random.randrange(100)])
        elif what < 0.45:
            steps.append(["thread", random.randint(0, 1)])
        else:
            steps.append([random.choice(("write", "read")), random.randrange(BLOCKS),
                          random.randint(1, 4)])
    return steps


def run(driver, seed, steps):
    world = World(driver, seed, sq_entries=steps[0][1]["sq_entries"])
    with tempfile.NamedTemporaryFile() as file:
        work = Work(world, file.name)
        world.run(work.open())
        for kind, *rest in steps[1:]:
            if kind == "turn":
                world.turn(rest[0])
            elif kind == "thread":
                world.in_thread = bool(rest[0])
            elif kind == "cancel":
                work.cancel(rest[0])
            else:
                work.start(kind, *rest)
            world.check_problems()
        world.until(work.all_ended, "operations end")
        world.in_thread = False
        world.run(work.close())
        work.check_blocks(file.read())
    return world.close()


class Work:
    """Operations on one file, each block by one at a time."""

    def __init__(self, world, path):
        self.world = world
        self.path = path
        self.tasks = {}
        # {block: the versions that may be there}; a version is a place in the pattern.
        self.blocks = {number: {None} for number in range(BLOCKS + 4)}
        self.version = 0

    async def open(self):
        self.file = await uring_loop.open(self.path, "r+b", buffering=0)

    async def close(self):
        await self.file.close()

    def start(self, kind, place, count):
        wanted = set(range(place, place + count))
        if any(wanted & blocks for blocks, task in self.tasks.items()
               if not task.done()):
            return
        self.version += 1
        method = self.write if kind == "write" else self.read
        self.tasks[frozenset(wanted)] = self.world.loop.create_task(
            method(place, count, self.version))

    def cancel(self, number):
        if self.tasks:
            list(self.tasks.values())[number % len(self.tasks)].cancel()

    def all_ended(self):
        return all(task.done() for task in self.tasks.values())

    async def write(self, place, count, version):
        numbers = range(place, place + count)
        for number in numbers:
            self.blocks[number] = self.blocks[number] | {version + number}
        data = b"".join(piece(version + number, BLOCK) for number in numbers)
        done = 0
        while done < len(data):
            try:
                done += await self.file.pwrite(data[done:], place * BLOCK + done)
            except RuntimeError as exc:
                # Documented: the loop has moved, and nobody knows.
                check("moved to another thread" in str(exc), repr(exc))
                return
        for number in numbers:
            self.blocks[number] = {version + number}

    async def read(self, place, count, version):
        data = await self.file.pread(count * BLOCK, place * BLOCK)
        for number in range(place, place + count):
            at = (number - place) * BLOCK
            self.check_block(number, data[at:at + BLOCK])

    def check_block(self, number, data):
        """A hole of the file, a part of one behind its end, or one of the versions."""
        versions = self.blocks[number]
        if None in versions and not data.strip(b"\0"):
            return
        # A cancelled write may have been done in part.
        check(len(versions) > 1 or any(data == piece(version, BLOCK)
                                       for version in versions if version is not None),
              "block", number, "holds something else")

    def check_blocks(self, data):
        for task in self.tasks.values():
            if not task.cancelled() and task.exception():
                raise task.exception()
        for number in self.blocks:
            self.check_block(number, data[number * BLOCK:(number + 1) * BLOCK])
