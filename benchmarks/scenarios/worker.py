"""Main program of a measured process: one server, one micro body, or one loop start.

A runner of load/ starts it with a JSON order as its only argument; the worker answers
with JSON lines on stdout.
"""

import asyncio
import json
import sys
import time

from benchmarks.scenarios import loops

MALLOC_BLOCK_BYTES = 8 << 20


def main():
    order = json.loads(sys.argv[1])
    {"serve": serve, "micro": micro, "batches": batches,
     "startup": startup}[order["task"]](order)


def serve(order):
    """Run one server until the process is killed."""
    from benchmarks.scenarios import servers

    loop = _prepare(order)
    where = servers.Where(path=order["path"], certificate=order["certificate"])
    port = loop.run_until_complete(servers.KINDS[order["kind"]](where))
    _say(host=where.host if port else where.path, port=port,
         loop=loops.describe(order["loop"], loop))
    loop.run_forever()


def micro(order):
    """Run one micro body for as many seconds as each line on stdin asks for."""
    from benchmarks.scenarios import micro as bodies

    loop = _prepare(order)
    with bodies.opened(order["kind"], loop, order["arguments"]) as batch:
        _say(loop=loops.describe(order["loop"], loop))
        for line in sys.stdin:
            requests, seconds = loop.run_until_complete(repeat(batch, float(line)))
            _say(requests=requests, seconds=seconds)


def batches(order):
    """Run a number of batches of a micro body, then end."""
    from benchmarks.scenarios import micro as bodies

    loop = _prepare(order)
    with bodies.opened(order["kind"], loop, []) as batch:
        operations = sum(loop.run_until_complete(batch())
                         for _ in range(order["batches"]))
    loop.close()
    _say(operations=operations)


def startup(order):
    """Time import, creation and close of a loop in this fresh process."""
    start = time.perf_counter()
    loop = loops.new_loop(order["loop"])
    loop.close()
    seconds = time.perf_counter() - start
    _say(seconds=seconds, loop=loops.describe(order["loop"], loop))


async def repeat(batch, seconds):
    clock = time.perf_counter
    requests = 0
    start = now = clock()
    while now - start < seconds:
        requests += await batch()
        now = clock()
    return requests, now - start


def _prepare(order):
    # glibc gives every large buffer its own mmap and munmap until one large block
    # was freed; without this line a benchmark of big reads measures malloc.
    block = bytearray(MALLOC_BLOCK_BYTES)
    del block
    loop = loops.new_loop(order["loop"])
    loop.set_exception_handler(_report_exception)
    return loop


def _report_exception(loop, context):
    # Clients disconnect at the end of a scenario; that is no failure.
    error = context.get("exception")
    if not isinstance(error, (ConnectionError, asyncio.CancelledError)):
        print(context.get("message"), error, file=sys.stderr)


def _say(**answer):
    print(json.dumps(answer), flush=True)
