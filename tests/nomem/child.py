"""One operation in which the n-th allocation fails, in a process of its own.

    child KIND OPERATION DRIVER FIRST STEP LAST

walks n from FIRST to LAST, each in a fork with a deadline; the allocations are of the
KIND "python" or "c". Prints a line for each that fails; ends with 1 if any has.
"""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import sys
import traceback

import uring_loop

from tests.slowness import PATIENCE_SECONDS

from .lacking import KINDS
from .operations import OPERATIONS

SECONDS = PATIENCE_SECONDS
# Longer runs of failures also reach the code that deals with the first.
RUNS = (1, 4)


def main(kind, operation, driver, first, step, last):
    failed = 0
    logging.disable(logging.CRITICAL)
    # What is imported and cached on first use must not be counted, nor leak.
    lacks = KINDS[kind]
    attempt(operation, driver, lacks(1 << 30, 1))
    descriptors = attempt(operation, driver, lacks(1 << 30, 1))
    for number in range(int(first), int(last) + 1, int(step)):
        for count in RUNS:
            status = in_fork(operation, driver, lacks(number, count), descriptors)
            if status:
                failed = 1
                print(f"FAILED {operation} on {driver}: {count} from allocation "
                      f"{number} of {kind} on: status {status}", flush=True)
    return failed


def in_fork(operation, driver, lacking, descriptors):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        faulthandler.enable()
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        left = attempt(operation, driver, lacking)
        assert len(left) == len(descriptors), f"before {descriptors}, after {left}"
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def attempt(operation, driver, lacking):
    loop = uring_loop.Loop(backend=driver)
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(asyncio.sleep(0))
    at_rest = len(loop.ring.in_flight())
    OPERATIONS[operation](loop, lacking)
    loop.run_until_complete(loop.shutdown_default_executor())
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0.001))
    left = loop.ring.in_flight()
    assert len(left) <= at_rest, f"in flight: {left}"
    asyncio.set_event_loop(None)
    loop.close()
    gc.collect()
    return open_files()


def open_files():
    """{descriptor: its file} but for the one that reads the directory."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
