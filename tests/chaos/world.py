"""What every fuzzer needs: a loop on one driver, turns of it, and the final counts."""

import asyncio
import contextlib
import gc
import os
import threading
import time

import uring_loop

from . import faults

DRIVERS = ("io_uring", "epoll", "chaos")
PATIENCE_SECONDS = 10


class Finding(AssertionError):
    """A promise was broken."""


class Boom(Exception):
    """Raised by a callback of the fuzzer."""


def check(holds, *what):
    if not holds:
        raise Finding(" ".join(map(str, what)))


def descriptors():
    """{number: what it refers to}; not the one that reads the directory."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


class World:
    """One loop, which lives for one list of steps."""

    def __init__(self, driver, seed, **options):
        gc.collect()
        self.descriptors = descriptors()
        self.driver = driver
        self.problems = []
        self.in_thread = False
        self.watched = []
        backend = "epoll" if driver == "chaos" else driver
        self.loop = uring_loop.Loop(backend=backend, **options)
        self.loop.set_exception_handler(self.heard)
        self.turn()
        self.in_flight = len(self.loop.ring.in_flight())
        if driver == "chaos":
            faults.start(seed, 1 + seed % 4)

    def heard(self, loop, context):
        """The loop's exception handler: only what the fuzzer has raised, and errors of
        the system, may come here."""
        error = context.get("exception")
        if not isinstance(error, (Boom, OSError)):
            self.problems.append(f"{context.get('message')}: {error!r}")

    # ---- running

    def turn(self, count=1):
        """Some iterations; interruptions of callbacks leave run_forever()."""
        for _ in range(count):
            if self.in_thread:
                thread = threading.Thread(target=self.run_once)
                thread.start()
                thread.join()
            else:
                self.run_once()

    def run_once(self):
        try:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        except KeyboardInterrupt:
            pass
        except BaseException as exc:
            self.problems.append(f"out of run_forever(): {exc!r}")

    def until(self, happened, what):
        """Turn until happened() is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            check(time.monotonic() < deadline, "never", what,
                  self.loop.ring.in_flight())
            self.turn()
            self.check_problems()

    def run(self, coroutine):
        """Run to the end; as long as faults of connecting may be tried again."""
        return self.loop.run_until_complete(
            asyncio.wait_for(coroutine, PATIENCE_SECONDS))

    def check_problems(self):
        check(not self.problems, *self.problems)

    # ---- the end

    def close(self):
        """All operations have ended; the loop leaves no descriptor behind."""
        self.until(lambda: len(self.loop.ring.in_flight()) <= self.in_flight,
                   "in flight as at the start")
        faulty = {}
        if self.driver == "chaos":
            faulty = faults.counts()
            faults.stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.check_problems()
        gc.collect()
        alive = [ref() for ref in self.watched if ref() is not None]
        check(not alive, "still in memory:", alive)
        left = {fd: name for fd, name in descriptors().items()
                if self.descriptors.get(fd) != name}
        check(not left, "descriptors left:", left)
        return faulty
