"""Main program of a process with threads: each runs one body on a loop of its own.

Its only argument is a JSON order; the answer to a line "THREADS SECONDS" on stdin is a
JSON line with the sum of the threads' rates and the memory of the process.
"""

import asyncio
import json
import sys
import threading

from benchmarks.scenarios import loops, micro, pairs
from benchmarks.scenarios.worker import repeat

BODIES = {"call_soon": micro.BODIES["call_soon_chain"], **pairs.BODIES}


def main():
    order = json.loads(sys.argv[1])
    say(gil=getattr(sys, "_is_gil_enabled", lambda: True)())
    for line in sys.stdin:
        count, seconds = line.split()
        say(**Slice(order, int(count), float(seconds)).run())


class Slice:
    """So many threads that work at the same time for so many seconds."""

    def __init__(self, order, count, seconds):
        self.order, self.count, self.seconds = order, count, seconds
        self.rates, self.errors = [], []
        self.begin = threading.Barrier(count)
        # Memory is read when all have worked, and none has closed its loop.
        self.end = threading.Barrier(count, self.read_memory)

    def run(self):
        threads = [threading.Thread(target=self.work) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return {"rate": sum(self.rates), "pss_kib": self.pss_kib}

    def work(self):
        try:
            self.work_on(loops.new_loop(self.order["loop"]))
        except BaseException as error:
            self.errors.append(error)
            self.begin.abort()
            self.end.abort()

    def work_on(self, loop):
        try:
            body = BODIES[self.order["body"]](*self.order["arguments"])
            with micro.entered(body, loop) as batch:
                loop.run_until_complete(batch())
                self.begin.wait()
                done, seconds = loop.run_until_complete(repeat(batch, self.seconds))
                self.rates.append(done / seconds)
                self.end.wait()
        finally:
            loop.close()
            asyncio.set_event_loop(None)

    def read_memory(self):
        self.pss_kib = pss_kib()


def pss_kib():
    """The memory of this process, where a page that n processes share counts 1/n."""
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def say(**answer):
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
