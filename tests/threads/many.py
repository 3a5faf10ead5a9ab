"""200 IOThreads started and stopped 50 times, and what they leave: run by hand.

    python -m tests.threads.many                as root
    python -m tests.threads.many nobody 65536   as an ordinary user, RLIMIT_MEMLOCK
"""

import asyncio
import concurrent.futures.thread  # before the user changes, who may not read it
import gc
import os
import resource
import sys
import threading
import time

import uring_loop

from tests.slowness import PATIENCE_SECONDS

THREADS, TIMES = 200, 50


def resident_kib():
    with open("/proc/self/status") as status:
        return int(next(x for x in status if x.startswith("VmRSS")).split()[1])


def start(**options):
    try:
        return uring_loop.IOThread(**options)
    except OSError as exc:
        assert "RLIMIT_MEMLOCK" in str(exc), exc
        return None


def turn(options):
    threads = [t for t in (start(**options) for _ in range(THREADS)) if t is not None]
    futures = [thread.run(asyncio.sleep(0, 1)) for thread in threads]
    assert sum(future.result(60) for future in futures) == len(threads)
    kinds = [thread.loop.backend for thread in threads]
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    return kinds.count("io_uring"), kinds.count("epoll")


def main(user=None, locked_bytes=None):
    if locked_bytes:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(locked_bytes),) * 2)
    if user:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(TIMES):
        begin = time.monotonic()
        rings, sets = turn({"backend": "auto" if user else "io_uring"})
        gc.collect()
        if number % 7 == 0 or number == TIMES - 1:
            print(f"{number + 1}: {rings} rings, {sets} epoll sets, "
                  f"{time.monotonic() - begin:.2f} s; "
                  f"fds {len(os.listdir('/proc/self/fd')) - before:+}, "
                  f"threads {threading.active_count()}, {resident_kib()} KiB",
                  flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
