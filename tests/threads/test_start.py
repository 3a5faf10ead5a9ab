"""Each step of an IOThread's start fails in turn: the creator hears, nothing leaks."""

import asyncio
import errno
import gc
import os
import resource
import sys
import threading
import tracemalloc

import pytest

from uring_loop import IOThread, IOThreadGroup
from uring_loop.threads.iothread import IOThread as Original

from tests.slowness import PATIENCE_SECONDS

from ..parity import loops

PACKAGE = os.path.dirname(sys.modules["uring_loop"].__file__) + os.sep
SECONDS = PATIENCE_SECONDS


class Injected(Exception):
    """What a step fails with."""


def outcome(**options):
    """The exception of a start; or None, and the thread has run and ended."""
    try:
        with IOThread(**options) as thread:
            assert thread.submit(int).result(SECONDS) == 0
    except (Injected, OSError, ValueError, TypeError, RuntimeError, MemoryError) as exc:
        return exc.with_traceback(None)
    return None


@pytest.mark.parametrize("options, error", [
    ({"taskrun": "sometimes"}, ValueError),
    ({"sq_entries": 3}, ValueError),
    ({"single_issuer": None}, ValueError),
    ({"single_issuer": False}, ValueError),
    ({"backend": "kqueue"}, ValueError),
    ({"colour": "red"}, TypeError),
    ({"cpu_affinity": 100_000}, OSError),
    ({"cpu_affinity": -1}, ValueError),
    ({"cpu_affinity": []}, OSError),
    ({"cpu_affinity": "all"}, (TypeError, ValueError)),
])
def test_a_bad_option_is_the_creators_error(no_leaks, options, error):
    assert isinstance(outcome(**options), error)
    with pytest.raises(error):
        IOThreadGroup(2, **{**options, "cpu_affinity": [options["cpu_affinity"]] * 2}
                      if "cpu_affinity" in options else options)


def test_no_descriptor_is_left_whichever_is_refused(options):
    """RLIMIT_NOFILE refuses the first descriptor of the start, then the second, …"""
    gc.collect()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    holes = fill_holes()
    outcomes = []
    # What the collector would close is left, too.
    gc.disable()
    try:
        before = os.listdir("/proc/self/fd")
        while not outcomes or outcomes[-1] is not None:
            room = holes[-1] + 1 + len(outcomes)
            resource.setrlimit(resource.RLIMIT_NOFILE, (room, limits[1]))
            try:
                outcomes.append(outcome(**options))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert os.listdir("/proc/self/fd") == before
    finally:
        gc.enable()
        for fd in holes:
            os.close(fd)
    # Two of the socket pair, the eventfd with the ring, and the set of the watches,
    # which on epoll is the ring's own.
    assert len(outcomes) == (5 if options.get("backend") == "epoll" else 6)
    assert {exc.errno for exc in outcomes[:-1]} == {errno.EMFILE}


def fill_holes():
    """Use the free numbers below the highest descriptor, so that only fresh ones are
    left; the last of these is the highest of all."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    filled = [os.open(os.devnull, os.O_RDONLY)]
    while filled[-1] <= highest:
        filled.append(os.dup(filled[0]))
    return filled


def test_every_call_of_the_start_may_fail(options):
    """The 1st, 2nd, 3rd … call that our code makes in the new thread raises, until a
    start gets through. Descriptors, threads and memory are as before each time."""
    assert outcome(**options) is None
    failures = failing_in_turn(options)
    # The next time round finds all that is made only once. What it leaves is a leak.
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        assert failing_in_turn(options) == failures
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert failures > 15
    # A few hundred bytes of the tracing itself; one loop that is left is 5,000.
    assert grown < 100 * failures


def failing_in_turn(options):
    failures = 0
    while True:
        saboteur = Saboteur(failures + 1)
        threads = threading.active_count()
        before = os.listdir("/proc/self/fd")
        threading.setprofile(saboteur)
        try:
            result = outcome(**options)
        finally:
            threading.setprofile(None)
        assert threading.active_count() == threads
        assert os.listdir("/proc/self/fd") == before
        if not saboteur.error_raised:
            assert result is None
            return failures
        failures += 1
        assert result is saboteur.error, f"call {failures}: {saboteur.where}"


class Saboteur:
    """A profile function that raises at the n-th call from our package in a thread,
    up to the report that it has started."""

    def __init__(self, number):
        self.left = number
        self.error = Injected(number)
        self.error_raised = False
        self.where = None

    def __call__(self, frame, event, arg):
        if event == "call":
            name, caller = frame.f_code.co_name, frame.f_back
        elif event == "c_call":
            name, caller = arg.__name__, frame
        else:
            return
        if name == "_begin":
            self.left = 0
        if not self.left or caller is None:
            return
        if caller.f_code.co_filename.startswith(PACKAGE):
            self.left -= 1
            if not self.left:
                self.error_raised = True
                self.where = f"{name} in {caller.f_code.co_name}"
                raise self.error


def test_no_thread_to_be_had(options, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    error = outcome(**options)
    assert isinstance(error, RuntimeError) and "new thread" in str(error)
    with pytest.raises(RuntimeError, match="new thread"):
        IOThreadGroup(2, **options)


def test_a_ring_that_cannot_be_enabled(ring_options, monkeypatch):
    """The last step, in the first iteration: the loop is there, but cannot run."""
    import uring_loop.threads.iothread as module

    class Broken(module.Loop):
        runs = 0

        def run_forever(self):
            self.runs += 1
            if self.runs == 1:
                raise Injected
            super().run_forever()

    monkeypatch.setattr(module, "Loop", Broken)
    assert isinstance(outcome(**ring_options), Injected)


def test_without_io_uring_the_creator_hears_it_or_gets_epoll(no_leaks):
    from .. import kit_seccomp
    from ..stress import children

    words = children.run(kit_seccomp.source() + f"""
forbid_io_uring({errno.EPERM})
import threading, uring_loop
before = sorted(os.listdir("/proc/self/fd"))
try:
    uring_loop.IOThread(backend="io_uring")
except PermissionError as exc:
    print("seccomp" in str(exc), threading.active_count())
print(sorted(os.listdir("/proc/self/fd")) == before)
with uring_loop.IOThread() as thread:
    print(thread.loop.backend, thread.run(asyncio.sleep(0, "ran")).result())
""", URING_LOOP_BACKEND="auto")
    assert words == ["True", "1", "True", "epoll", "ran"]


def test_one_of_a_group_fails_and_the_others_end(options):
    with pytest.raises(OSError) as caught:
        IOThreadGroup(3, cpu_affinity=[None, None, 100_000], **options)
    assert caught.value.errno == errno.EINVAL
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("IOThreadGroup")]


def test_a_group_needs_a_thread(no_leaks):
    with pytest.raises(ValueError, match="at least one"):
        IOThreadGroup(0)
    with pytest.raises(ValueError, match="1 items for 2 threads"):
        IOThreadGroup(2, cpu_affinity=[0])


# ---- many, and little memory ----------------------------------------------------


def resident_kib():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0])


def start_and_stop(count, times, options):
    """Many threads at once, again and again; resident KiB after each time."""
    resident = []
    for _ in range(times):
        threads = [IOThread(**options) for _ in range(count)]
        futures = [thread.run(asyncio.sleep(0, 1)) for thread in threads]
        assert sum(future.result(SECONDS) for future in futures) == count
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(SECONDS)
        del threads, futures, thread
        gc.collect()
        resident.append(resident_kib())
    return resident


def test_threads_that_come_and_go_leak_nothing(options):
    """20 threads 6 times; `python -m tests.threads.many` does 200, 50 times."""
    resident = start_and_stop(20, 6, options)
    # The first rounds fill the allocator's pools. A loop that is left has 100 KiB.
    assert resident[-1] - resident[3] < 2048, resident


AS_SOMEBODY = """
import concurrent.futures.thread, resource, threading, uring_loop
# Now: who comes next may not be allowed to read where it is installed.
uring_loop.IOThread
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
os.setgroups([])
# Nobody else: what a user has locked is counted over all processes.
user = 0x40000000 + os.getpid()
os.setresgid(user, user, user)
os.setresuid(user, user, user)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="must be root to become somebody else")
def test_little_locked_memory_gives_smaller_rings_or_the_documented_error():
    """An ordinary user with Docker's usual limit of 64 KiB: one thread after another
    starts, with a smaller ring, until one is refused, which says why. What has ended
    gives its memory back."""
    from ..stress import children

    loops.skip_where_io_uring_is_refused()
    words = children.run(AS_SOMEBODY + """
fds = sorted(os.listdir("/proc/self/fd"))
for turn in range(3):
    threads = []
    try:
        while len(threads) < 100:
            threads.append(uring_loop.IOThread(backend="io_uring"))
    except OSError as exc:
        assert "RLIMIT_MEMLOCK" in str(exc), exc
    sizes = [t.loop.ring.sq_entries for t in threads]
    assert all(t.run(asyncio.sleep(0, True)).result() for t in threads)
    with uring_loop.IOThread(backend="auto") as other:
        kind = other.loop.backend
    for t in threads:
        t.stop()
        t.join()
    assert threading.active_count() == 1
    assert sorted(os.listdir("/proc/self/fd")) == fds
    print(8 <= min(sizes) < 256 and max(sizes) <= 256, len(sizes) < 100, kind)
""")
    assert words == ["True", "True", "epoll"] * 3
