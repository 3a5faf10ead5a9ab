"""The end of the program and Ctrl-C: an IOThread is stopped, never cut off."""

import pathlib
import signal
import time

import pytest

from ..parity import loops
from ..stress import children

BACKENDS = pytest.mark.parametrize("backend", loops.under_test())
# For what does not depend on it.
ONE = pytest.mark.parametrize("backend", loops.under_test()[:1])

WORK = """
import threading, uring_loop
begun = threading.Event()

async def work(seconds=0):
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        # Many iterations. No executor: 3.12 starts no thread at a program's end.
        for _ in range(50):
            await asyncio.sleep(0.001)
        # One write, which others cannot come between.
        os.write(1, b"finished\\n")
"""


def words_of(backend, code):
    return children.run(WORK + code, URING_LOOP_BACKEND=backend)


@BACKENDS
def test_a_program_that_ends_stops_its_threads_and_waits(backend):
    assert words_of(backend, """
threads = [uring_loop.IOThread() for _ in range(3)]
for thread in threads:
    begun.clear()
    thread.run(work())
    begun.wait()
print("end", flush=True)
""") == ["end"] + ["finished"] * 3


@ONE
def test_a_program_that_ends_drops_daemons(backend):
    assert words_of(backend, """
thread = uring_loop.IOThread(daemon=True)
thread.run(work())
begun.wait()
print("end", flush=True)
""") == ["end"]


@ONE
def test_a_program_that_fails_stops_its_threads_too(backend):
    child = children.start(WORK + """
thread = uring_loop.IOThread()
thread.run(work())
begun.wait()
raise SystemExit(3)
""", URING_LOOP_BACKEND=backend)
    words, err, returncode = children.finish(child)
    assert (words, err, returncode) == (["finished"], "", 3)


@ONE
def test_a_loop_made_in_a_thread_that_fork_has_left_behind(backend):
    """In the child the thread is gone: calls say so, the end of the program waits for
    nothing, and a new one works."""
    assert words_of(backend, """
thread = uring_loop.IOThread()
thread.run(asyncio.sleep(0)).result()
child = os.fork()
if child == 0:
    for call in (thread.run, thread.submit):
        try:
            call(asyncio.sleep(0))
        except RuntimeError as exc:
            assert "fork" in str(exc), exc
    thread.stop()
    thread.join()
    with uring_loop.IOThread() as own:
        print(own.run(asyncio.sleep(0, "own")).result(), flush=True)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
      thread.run(asyncio.sleep(0, "unharmed")).result())
""") == ["own", "7", "unharmed"]


def wait_until_asleep(child):
    """Until the main thread sleeps in the kernel, and has slept for a while. A signal
    that comes just before a sleep does not end it, on any Python; without a GIL that
    happens in half of the cases."""
    seen = 0
    while seen < 10:
        time.sleep(0.01)
        stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
        seen = seen + 1 if stat.rpartition(")")[2].split()[0] == "S" else 0


def interrupt(backend, code):
    """Ctrl-C once the child has said that it is ready."""
    child = children.start(WORK + code, URING_LOOP_BACKEND=backend)
    assert child.stdout.readline() == "ready\n"
    wait_until_asleep(child)
    child.send_signal(signal.SIGINT)
    return children.finish(child)


WAITING = {
    "with": """
with uring_loop.IOThread() as thread:
    thread.run(work())
    begun.wait()
    print("ready", flush=True)
    signal.pause()
""",
    "join": """
thread = uring_loop.IOThread()
thread.run(work())
begun.wait()
print("ready", flush=True)
thread.join()
""",
    "result": """
thread = uring_loop.IOThread()
future = thread.run(work())
begun.wait()
print("ready", flush=True)
future.result()
""",
    "asyncio": """
async def main():
    async with uring_loop.IOThread() as thread:
        future = thread.run(work())
        await asyncio.to_thread(begun.wait)
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
""",
    "group": """
with uring_loop.IOThreadGroup(2) as group:
    group.run_on_least_loaded(work())
    begun.wait()
    print("ready", flush=True)
    group.join()
""",
}


@BACKENDS
@pytest.mark.parametrize("where", WAITING)
def test_ctrl_c_in_the_main_thread_lets_the_other_finish(backend, where):
    words, err, returncode = interrupt(backend, WAITING[where])
    assert words == ["finished"]
    assert err.strip().endswith("KeyboardInterrupt")
    assert returncode == -signal.SIGINT


@ONE
def test_ctrl_c_in_the_wait_for_the_end_does_not_cut_it_off(backend):
    """Pressed again while the thread finishes: the wait ends, the thread does not, and
    the end of the program waits for it."""
    words, err, returncode = interrupt(backend, """
async def long_work():
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        print("ready", flush=True)
        while not interrupted.is_set():
            await asyncio.sleep(0.001)
        for _ in range(50):
            await asyncio.sleep(0.001)
        print("finished", flush=True)

interrupted = threading.Event()
thread = uring_loop.IOThread()
thread.run(long_work())
begun.wait()
thread.stop()
try:
    thread.join()
except KeyboardInterrupt:
    print("interrupted", thread.state, flush=True)
    interrupted.set()
""")
    assert (words, err, returncode) == (["interrupted", "stopping", "finished"], "", 0)


@ONE
def test_ctrl_c_in_the_wait_for_the_start_leaves_nothing(backend):
    """The constructor raises KeyboardInterrupt once the half-started thread is gone."""
    words, err, returncode = interrupt(backend, """
import uring_loop.threads.iothread as module

class Slow(module.Loop):
    def __init__(self, **options):
        print("ready", flush=True)
        gate.wait()
        super().__init__(**options)

def on_sigint(*args):
    gate.set()
    raise KeyboardInterrupt

gate = threading.Event()
signal.signal(signal.SIGINT, on_sigint)
module.Loop = Slow
before = sorted(os.listdir("/proc/self/fd"))
try:
    uring_loop.IOThread()
except KeyboardInterrupt:
    left = threading.active_count(), sorted(os.listdir("/proc/self/fd")) == before
    print(*left, flush=True)
""")
    assert (words, err, returncode) == (["1", "True"], "", 0)


@ONE
def test_a_signal_handler_may_stop_a_thread(backend):
    words, err, returncode = interrupt(backend, """
thread = uring_loop.IOThread()
signal.signal(signal.SIGINT, lambda *args: thread.stop())
thread.run(work())
begun.wait()
print("ready", flush=True)
thread.join()
print(thread.state)
""")
    assert (words, err, returncode) == (["finished", "stopped"], "", 0)
