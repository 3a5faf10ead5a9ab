"""IOThread: a thread that makes and runs one loop.

The thread itself creates the loop, its ring and its buffers, as in QEMU's IOThread. If
that fails, the constructor raises the error.

    starting   the thread makes its loop and runs the first iteration, which binds the
               ring; __init__ waits for that
    running    run() and submit() are accepted
    stopping   the loop finishes tasks, async generators and the executor
    stopped    the loop is closed; join() raises the exception that ended the thread, if
               there was one
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
# The IOThreads that are stopped and waited for at the interpreter's exit.
_awaited = set()


class IOThread:
    """A thread that runs one loop of its own until stop() is called.

    name          the name of the thread; default "IOThread-1" and so on
    daemon        the end of a thread that still runs when the program ends: False stops
                  it as stop() does and waits for its end; True abandons it
    cpu_affinity  the CPU, or an iterable of CPUs, on which the thread may run. Threads
                  that it starts, such as those of the loop's executor, inherit it
    loop_options  those of `Loop`

    The thread runs when the constructor returns. An exception during the start, in the
    thread or in the caller, is raised by the constructor; the thread has then been
    joined and its resources are released. The model is QEMU's iothread_run() and
    IOThreadRunArgs.

    As a context manager (`with`, `async with`), it stops and joins the thread at the
    end of the block.
    """

    def __init__(self, name=None, *, daemon=False, cpu_affinity=None, **loop_options):
        self.loop = None
        self._cpu_affinity = cpu_affinity
        self._make_loop = functools.partial(Loop, **loop_options)
        # Reentrant: a signal handler may call stop() in the middle of run().
        self._lock = threading.RLock()
        self._state = STARTING
        # Locked until the first iteration has begun, or the start has failed. Not an
        # Event: Ctrl-C at the beginning of its wait() may leave its inner lock locked,
        # and the thread would hang in set().
        self._starting = threading.Lock()
        self._starting.acquire()
        # Set at the very end. Used instead of Thread.join(): up to 3.12, Ctrl-C in
        # join() marks a running thread as ended, and the interpreter no longer waits
        # for it.
        self._ended = threading.Event()
        self._begun = False
        self._error = None
        self._unfinished = set()
        self._connections_count = 0
        # Called in the thread when it begins no more work and its loop is still open:
        # they close sockets that no task would close. Other threads add to it while
        # work is accepted.
        self._last_calls = set()
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
            # The thread could not be started, or Ctrl-C ended the wait.
            self.stop()
            if self._thread.ident is not None:
                self._wait(None)
            raise
        if not self._begun:
            self._wait(None)
            # Do not keep the exception: its traceback refers to this object.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error

    # ---- properties

    @property
    def name(self):
        return self._thread.name

    @property
    def native_id(self):
        """The kernel's id of the thread, as `ps -L` and `top -H` show it."""
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
        """The number of unfinished calls of run() and submit() plus the connections
        that the thread serves for an IOThreadGroup; infinite unless it is running. A
        snapshot."""
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

    # ---- work

    def run(self, coro):
        """Run a coroutine in the thread; returns its concurrent.futures.Future.

        Cancelling the Future cancels the task. In another loop, await it with
        asyncio.wrap_future(). Never wait for it in the IOThread itself: that would
        block its loop. Raises RuntimeError if the thread is stopping or has ended.
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

        The call is a callback of the loop, so it must not block. Raises RuntimeError if
        the thread is stopping or has ended.
        """
        future = concurrent.futures.Future()
        with self._accepting():
            self._watch(future)
            self.loop.call_soon_threadsafe(call_into, future, fn, args)
        return future

    @contextlib.contextmanager
    def _accepting(self):
        """Guards the queueing of work: the work begins, or the caller gets an error."""
        # Check this before the lock: in a forked child the lock may be held for ever.
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

    # ---- the end

    def stop(self):
        """Request the end and return at once. Any thread may call it, repeatedly.

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
        """Wait at most `timeout` seconds for the end; raise the exception that ended
        the thread.

        That is an exception that left the loop, such as SystemExit from a callback, or
        one raised while the loop was finishing. Raises TimeoutError if the thread still
        runs. Ctrl-C ends the wait, not the thread.
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
        """The thread's function; keeps its exception for __init__ or join()."""
        try:
            if not self.daemon:
                _awaited.add(self)
            if self._cpu_affinity is not None:
                os.sched_setaffinity(0, cpu_set(self._cpu_affinity))
            with asyncio.Runner(loop_factory=self._make_loop) as runner:
                self._serve(runner.get_loop())
        except BaseException as exc:
            # Keep the first exception: it may be the cause of this one.
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
        # The first iteration enables the ring; the thread has started after that.
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
                # Start the work that was accepted before the state changed, so that the
                # Runner's end, which cancels all tasks, ends it, too.
                loop.call_soon(loop.stop)
                loop.run_forever()
                for call in self._last_calls:
                    call()
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
        """End all Futures that are not done, so that no caller waits for ever."""
        for future in list(self._unfinished):
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(
                    RuntimeError(f"{self.name} ended before this was done"))


def call_into(future, fn, args):
    """Set the Future to the outcome of fn(*args)."""
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
    """Register a hook that stops running IOThreads when the main thread has ended.

    The interpreter waits for non-daemon threads without telling them to stop.
    concurrent.futures stops its threads by the same hook. Its module is imported first,
    since the hooks run in reverse order: finishing tasks may need the executor.
    """
    threading._register_atexit(stop_all)


def stop_all():
    while _awaited:
        threads = list(_awaited)
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread._wait(None)
