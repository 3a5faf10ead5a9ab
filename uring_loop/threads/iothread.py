"""IOThread: a thread made for one loop, whose loop is made in that thread.

The loop, its ring and its buffers are created by the thread that will use them, as in
QEMU's IOThread, and whoever asked for it gets the error if that fails.

    starting   the thread makes its loop and runs the first iteration, which binds the
               ring; until then __init__ waits
    running    run() and submit() are accepted
    stopping   the loop ends what is left: tasks, async generators, executor
    stopped    the loop is closed; join() raises what ended the thread, if it was an
               exception
"""

import asyncio
import concurrent.futures.thread
import contextlib
import functools
import itertools
import math
import os
import threading

from uring_loop.loop import Loop

STARTING, RUNNING, STOPPING, STOPPED = "starting", "running", "stopping", "stopped"

_numbers = itertools.count(1)
# Those that the interpreter's exit has to stop, and then waits for.
_awaited = set()


class IOThread:
    """A thread that runs one loop of its own until it is told to stop.

    name          of the thread; default "IOThread-1" and so on
    daemon        what happens to a thread that is still running when the program ends:
                  False stops it, lets it finish as stop() does, and waits for that;
                  True drops it where it stands
    cpu_affinity  the CPU, or an iterable of CPUs, on which the thread may run. Threads
                  that it starts, such as those of the loop's executor, inherit that
    loop_options  those of `Loop`

    The thread runs when this returns. Any exception on the way there, in the thread or
    in starting it, is raised here, the very object; the thread has then been joined
    and nothing is left of it. After QEMU's iothread_run() and IOThreadRunArgs.

    With `with` or `async with`, the end of the block stops and joins it.
    """

    def __init__(self, name=None, *, daemon=False, cpu_affinity=None, **loop_options):
        self.loop = None
        self._cpu_affinity = cpu_affinity
        self._make_loop = functools.partial(Loop, **loop_options)
        # Reentrant: a signal handler may call stop() in the middle of run().
        self._lock = threading.RLock()
        self._state = STARTING
        # Locked until its first iteration has begun, or until there will be none. No
        # Event: Ctrl-C just as wait() begins may leave the lock in there locked, and
        # the thread would hang in set().
        self._starting = threading.Lock()
        self._starting.acquire()
        # Set last of all. Not Thread.join(): up to 3.12, Ctrl-C in there marks a thread
        # that runs as ended, and the interpreter no longer waits for it.
        self._ended = threading.Event()
        self._begun = False
        self._error = None
        self._unfinished = set()
        self._connections_count = 0
        self._process = os.getpid()
        self._thread = threading.Thread(
            target=self._main, name=name or f"IOThread-{next(_numbers)}",
            daemon=daemon)
        if not daemon:
            stop_before_exit()
        self._start()

    def _start(self):
        try:
            self._thread.start()
            self._starting.acquire()
        except BaseException:
            # No thread to be had, or Ctrl-C in the middle of the wait.
            self.stop()
            if self._thread.ident is not None:
                self._wait(None)
            raise
        if not self._begun:
            self._wait(None)
            # Not kept: its traceback refers to us.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error

    # ---- what it is

    @property
    def name(self):
        return self._thread.name

    @property
    def native_id(self):
        """The kernel's number of the thread, as `ps -L` and `top -H` show it."""
        return self._thread.native_id

    @property
    def daemon(self):
        return self._thread.daemon

    @property
    def state(self):
        """"starting", "running", "stopping" or "stopped"."""
        return self._state

    @property
    def load(self):
        """How busy it is: calls of run() and submit() that are not done, plus
        connections that it serves for an IOThreadGroup; infinite if it takes no more
        work. A snapshot."""
        if self._state != RUNNING:
            return math.inf
        return len(self._unfinished) + self._connections_count

    def __repr__(self):
        text = f"<{type(self).__name__} {self.name!r} {self._state}"
        if self.loop is not None:
            text += f" backend={self.loop.backend} native_id={self.native_id}"
        if self._error is not None:
            text += f" error={self._error!r}"
        return text + ">"

    # ---- work for it

    def run(self, coro):
        """Run a coroutine in the thread; returns its concurrent.futures.Future.

        Cancelling the Future cancels the task. Await it in another loop with
        asyncio.wrap_future(). Never wait for it in this thread itself: its loop
        would stand still. RuntimeError if the thread is stopping or has ended.
        """
        try:
            with self._accepting():
                return self._watch(asyncio.run_coroutine_threadsafe(coro, self.loop))
        except RuntimeError:
            if asyncio.iscoroutine(coro):
                coro.close()
            raise

    def submit(self, fn, /, *args):
        """Call fn(*args) in the thread; returns a concurrent.futures.Future.

        It runs between the loop's callbacks, so it must not block. RuntimeError if
        the thread is stopping or has ended.
        """
        future = concurrent.futures.Future()
        with self._accepting():
            self._watch(future)
            self.loop.call_soon_threadsafe(call_into, future, fn, args)
        return future

    @contextlib.contextmanager
    def _accepting(self):
        """What is queued in here begins, or the caller gets an error: none is lost."""
        # First: in a forked child, a thread that is gone may hold the lock.
        if self._process != os.getpid():
            raise RuntimeError(f"{self!r} was made before fork() and is the parent's")
        with self._lock:
            if self._state != RUNNING:
                raise RuntimeError(f"{self!r} takes no more work")
            yield

    def _watch(self, future):
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    # ---- its end

    def stop(self):
        """Ask for the end, and return at once. Any thread may, and more than once.

        The loop finishes as asyncio.Runner does: it cancels all tasks and waits for
        them, closes async generators, and waits for the default executor.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            if self._state == RUNNING:
                self.loop.call_soon_threadsafe(self.loop.stop)
            if self._state in (STARTING, RUNNING):
                self._state = STOPPING

    def join(self, timeout=None):
        """Wait for the end, `timeout` seconds at most; raise what ended the thread.

        That is an exception that left the loop, such as SystemExit from a callback,
        or one from finishing. TimeoutError if the thread still runs. Ctrl-C ends the
        wait, not the thread.
        """
        self._wait(timeout)
        if self._error is not None:
            raise self._error

    def _wait(self, timeout):
        if self._process != os.getpid():
            return
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"{self!r} cannot wait for its own end")
        if not self._ended.wait(timeout):
            raise TimeoutError(f"{self!r} has not ended after {timeout} s")
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()
        self.join()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        self.stop()
        await asyncio.to_thread(self.join)

    # ---- in the thread

    def _main(self):
        """All that the thread does; whatever ends it is kept for __init__ or join()."""
        try:
            if not self.daemon:
                _awaited.add(self)
            if self._cpu_affinity is not None:
                os.sched_setaffinity(0, cpu_set(self._cpu_affinity))
            with asyncio.Runner(loop_factory=self._make_loop) as runner:
                self._serve(runner.get_loop())
        except BaseException as exc:
            # The first one: it may be why finishing failed, too.
            self._error = self._error or exc
        finally:
            with self._lock:
                self._state = STOPPED
            self._fail_unfinished()
            _awaited.discard(self)
            self._end_starting()
            self._ended.set()

    def _serve(self, loop):
        self.loop = loop
        # The first iteration enables the ring. Only after that has it started.
        beginning = loop.call_soon(self._begin)
        try:
            loop.run_forever()
        except BaseException as exc:
            self._error = exc
            if self._begun:
                loop.call_exception_handler({
                    "message": f"{self.name} is ended by an exception",
                    "exception": exc,
                })
            raise
        finally:
            with self._lock:
                self._state = STOPPING
            if self._begun:
                # What was accepted before that line begins now, so that what comes
                # next, the end of all tasks, ends it, too.
                loop.call_soon(loop.stop)
                loop.run_forever()
            else:
                beginning.cancel()

    def _begin(self):
        with self._lock:
            if self._state == STARTING:
                self._state = RUNNING
            else:
                self.loop.stop()
        self._begun = True
        self._end_starting()

    def _end_starting(self):
        if self._starting.locked():
            self._starting.release()

    def _fail_unfinished(self):
        """Nobody may wait for ever: not even where finishing failed half-way."""
        for future in list(self._unfinished):
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(
                    RuntimeError(f"{self.name} ended before this was done"))


def call_into(future, fn, args):
    """Give the Future the outcome of fn(*args)."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args)
    except BaseException as exc:
        future.set_exception(exc)
        if isinstance(exc, (SystemExit, KeyboardInterrupt)):
            raise
    else:
        future.set_result(result)


def cpu_set(affinity):
    return {affinity} if isinstance(affinity, int) else set(affinity)


# A forked child has none of these threads.
os.register_at_fork(after_in_child=_awaited.clear)


@functools.cache
def stop_before_exit():
    """Have IOThreads that still run stopped when the main thread has ended.

    The interpreter waits for threads that are no daemons, but tells them nothing.
    This is the hook by which concurrent.futures tells its own. Imported first, since
    the last hook runs first: tasks that finish may still need their executor.
    """
    threading._register_atexit(stop_all)


def stop_all():
    while _awaited:
        threads = list(_awaited)
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread._wait(None)
