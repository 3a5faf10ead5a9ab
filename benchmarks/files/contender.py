"""One contender of the file benchmark, in a process of its own.

    python -m benchmarks.files.contender NAME PATH read|write DEPTH direct|buffered

Reads a number of seconds per line from its standard input, does 4 KiB of I/O at random
offsets for as long, and prints how many operations it did and how many seconds of the
processor they took.
"""

import asyncio
import mmap
import os
import random
import resource
import sys
import time

BLOCK = 4096
OFFSETS = 65536

# {column: set-up flags of the ring that it leaves out}
LEFT_OUT = {
    "none": ("NO_SQARRAY", "DEFER_TASKRUN", "SINGLE_ISSUER", "COOP_TASKRUN",
             "TASKRUN_FLAG"),
    "+SINGLE_ISSUER": ("NO_SQARRAY", "DEFER_TASKRUN", "COOP_TASKRUN", "TASKRUN_FLAG"),
    "+COOP_TASKRUN": ("NO_SQARRAY", "DEFER_TASKRUN"),
    "+NO_SQARRAY": ("DEFER_TASKRUN",),
    "DEFER_TASKRUN": ("COOP_TASKRUN",),
}


class Offsets:
    """Random block offsets, the same for all contenders."""

    def __init__(self, path):
        choose = random.Random(1)
        blocks = os.path.getsize(path) // BLOCK
        self.all = [choose.randrange(blocks) * BLOCK for _ in range(OFFSETS)]


def aligned():
    return mmap.mmap(-1, BLOCK)


# ---- contenders: each gives `depth` functions of an offset --------------------------


async def uring(path, writing, depth, direct):
    import uring_loop

    flags = os.O_DIRECT if direct else 0
    file = await uring_loop.open(path, "r+b", buffering=0, flags=flags)
    memory = uring_loop.aligned_buffer(BLOCK)
    if writing:
        return [lambda offset: file.pwrite(memory, offset)] * depth
    if direct:
        buffers = [uring_loop.aligned_buffer(BLOCK) for _ in range(depth)]
        return [lambda offset, buffer=buffer: file.preadinto(buffer, offset)
                for buffer in buffers]
    return [lambda offset: file.pread(BLOCK, offset)] * depth


async def aiofiles_(path, writing, depth, direct):
    import aiofiles

    def opener(name, flags):
        return os.open(name, flags | (os.O_DIRECT if direct else 0))

    async def one():
        file = await aiofiles.open(path, "r+b", buffering=0, opener=opener)
        memory = aligned()

        async def operation(offset):
            await file.seek(offset)
            if writing:
                await file.write(memory)
            elif direct:
                await file.readinto(memory)
            else:
                await file.read(BLOCK)

        return operation

    return [await one() for _ in range(depth)]


async def aiofile_(path, writing, depth, direct):
    from aiofile import AIOFile

    file = AIOFile(path, "rb+")
    await file.open()
    data = bytes(BLOCK)
    if writing:
        return [lambda offset: file.write_bytes(data, offset)] * depth
    return [lambda offset: file.read_bytes(BLOCK, offset)] * depth


async def seeking(open_one, writing, depth):
    """For libraries whose files have a position: one file per operation in flight."""
    data = bytes(BLOCK)

    async def one():
        file = await open_one()

        async def operation(offset):
            moved = file.seek(offset)
            if asyncio.iscoroutine(moved):
                await moved
            if writing:
                await file.write(data)
            else:
                await file.read(BLOCK)

        return operation

    return [await one() for _ in range(depth)]


async def urio_(path, writing, depth, direct):
    import urio

    return await seeking(lambda: urio.open(path, "r+b"), writing, depth)


async def asyncfiles_(path, writing, depth, direct):
    import asyncfiles

    async def open_one():
        return await asyncfiles.open(path, "r+b").__aenter__()

    return await seeking(open_one, writing, depth)


async def turbofile_(path, writing, depth, direct):
    import turbofile

    if writing:
        return await seeking(
            lambda: turbofile.open(path, "r+b", buffering=0), writing, depth)
    file = await turbofile.open(path, "rb", buffering=0)
    return [lambda offset: file.read_at(offset, BLOCK)] * depth


async def inline(path, writing, depth, direct):
    """os.preadv and os.pwrite on the loop's thread: they block it."""
    fd = os.open(path, os.O_RDWR | (os.O_DIRECT if direct else 0))
    memory = aligned()

    async def operation(offset):
        if writing:
            os.pwrite(fd, memory, offset)
        elif direct:
            os.preadv(fd, [memory], offset)
        else:
            os.pread(fd, BLOCK, offset)

    return [operation] * depth


PEERS = {
    "aiofiles": aiofiles_, "aiofile": aiofile_, "urio": urio_,
    "asyncfiles": asyncfiles_, "turbofile": turbofile_, "inline": inline,
}
# The others offer no way to open with O_DIRECT.
DIRECT = {"aiofiles", "inline"}


# ---- slices -------------------------------------------------------------------------


async def work(operations, offsets, seconds):
    end = time.perf_counter() + seconds
    done = 0

    async def worker(number, operation):
        nonlocal done
        at = number * (OFFSETS // len(operations))
        while time.perf_counter() < end:
            for _ in range(16):
                await operation(offsets[at % OFFSETS])
                at += 1
            done += 16

    usage = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    await asyncio.gather(*map(worker, range(len(operations)), operations))
    passed = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime) - (usage.ru_utime + usage.ru_stime)
    return done, passed, cpu


async def serve(contender, path, writing, depth, direct):
    operations = await contender(path, writing, depth, direct)
    offsets = Offsets(path).all
    await work(operations, offsets, 0.02)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(*await work(operations, offsets, float(line)), flush=True)
    # Files stay open: some peers fail to close, and the process ends here.
    sys.stdout.flush()
    os._exit(0)


def loop_for(name):
    """Make a uring_loop with exactly the flags of a column, or uvloop for the peers."""
    if name not in LEFT_OUT:
        import uvloop

        return uvloop.new_event_loop()
    import uring_loop
    from uring_loop.driver import ring

    bits = {text: bit for bit, text in ring.FLAG_NAMES.items()}
    unwanted = sum(bits[text] for text in LEFT_OUT[name])
    # A ladder of one rung: leaves out all unwanted flags at once.
    ring.LADDER = ((unwanted, 0, "the rest", "another column"),)

    class Loop(uring_loop.Loop):
        def open_ring(self, options):
            super().open_ring({**options, "known_flags": 0xFFFFFFFF & ~unwanted})

    taskrun = "defer" if name == "DEFER_TASKRUN" else "coop"
    return Loop(backend="io_uring", taskrun=taskrun)


def main():
    name, path, kind, depth, cache = sys.argv[1:]
    contender = PEERS.get(name, uring)
    with asyncio.Runner(loop_factory=lambda: loop_for(name)) as runner:
        runner.run(serve(contender, path, kind == "write", int(depth),
                         cache == "direct"))


if __name__ == "__main__":
    main()
