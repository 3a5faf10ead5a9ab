"""What a kernel has of io_uring, asked through the loop, as one word each."""

import os
import resource
import subprocess
import sys

import uring_loop

# Docker's limit of locked memory.
LOCKED_BYTES = 64 << 10
LOOPS = 20
NOBODY = 65534


def all_facts():
    yield "kernel", f"{os.uname().release} {os.uname().version}"
    for taskrun in ("defer", "coop"):
        loop = uring_loop.Loop(taskrun=taskrun)
        yield f"backend ({taskrun})", loop.backend
        yield f"flags ({taskrun})", str(loop.ring_flags)
        yield f"refused ({taskrun})", str(loop.ring_refused)
        loop.close()
    asked = [sys.executable, "-c", "from tests.kernels import facts; facts.loops()"]
    done = subprocess.run(asked, capture_output=True, text=True)
    yield "loops at a time with 64 KiB", done.stdout.strip() or done.stderr[-300:]


def loops():
    """Prints how many loops of an ordinary user have a ring at the same time."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (LOCKED_BYTES, LOCKED_BYTES))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    made = [uring_loop.new_event_loop() for _ in range(LOOPS)]
    print(sum(loop.backend == "io_uring" for loop in made), "of", len(made))
    for loop in made:
        loop.close()
