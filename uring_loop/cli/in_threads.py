"""Runs one coroutine function in several IOThreads at once: `run --threads`.

    python -m uring_loop.cli.in_threads COUNT MODULE:FUNCTION ARGUMENTS

The program has ended when all calls have. The first exception cancels the other calls
and is the program's. So do SIGINT and SIGTERM; a second signal ends the program where
it stands.
"""

import asyncio
import contextlib
import importlib
import queue
import signal
import socket
import sys

from uring_loop.threads.iothread_group import IOThreadGroup


def main(arguments):
    count, target, *rest = arguments
    module, _, name = target.partition(":")
    # Before the import: a module may read its arguments there.
    sys.argv[:] = [target, *rest]
    function = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    run(function, int(count))


def run(function, count):
    """Call the function in each thread; raise what ended the program."""
    reason = None
    with (Events() as events, signals_go_to(events),
            IOThreadGroup(count, "run") as group):
        calls = {Call(thread, function, events.put) for thread in group.threads}
        while calls:
            event = events.get()
            calls.discard(event)
            if reason is None and (reason := reason_to_end(event)) is not None:
                for call in calls:
                    call.cancel()
    if reason is not None:
        raise reason


def reason_to_end(event):
    """The exception that a signal or a call that is done stands for, or None."""
    if isinstance(event, Call):
        return event.exception()
    if event == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(128 + event)


class Events:
    """A queue that the main thread waits for, to which signal handlers may put.

    Python's handler of a signal that comes just before a thread waits for a lock runs
    after that wait. So this one waits for bytes: `wakeup_fd` is for
    signal.set_wakeup_fd().
    """

    def __init__(self):
        self._queue = queue.SimpleQueue()
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self.wakeup_fd = self._sender.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._receiver.close()
        self._sender.close()

    def put(self, event):
        self._queue.put(event)
        # Full: there is enough to wake up for.
        with contextlib.suppress(BlockingIOError):
            self._sender.send(b"\0")

    def get(self):
        while True:
            try:
                return self._queue.get_nowait()
            except queue.Empty:
                self._receiver.recv(4096)


@contextlib.contextmanager
def signals_go_to(events):
    """The first signal is put; a second one ends the process."""
    def handler(number, frame):
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        events.put(number)

    before = {}
    wakeup_fd = signal.set_wakeup_fd(events.wakeup_fd, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(wakeup_fd)


class Call:
    """One call, in one thread; when it is done, it is put among the events."""

    def __init__(self, thread, function, put):
        self._thread = thread
        self._task = None
        self._future = thread.run(self._await(function))
        self._future.add_done_callback(lambda future: put(self))

    async def _await(self, function):
        self._task = asyncio.current_task()
        await function()

    def cancel(self):
        """Cancel the call alone, not the tasks that its clean-up may need."""
        # A thread that an exception has ended takes no more work.
        with contextlib.suppress(RuntimeError):
            self._thread.run(self._cancel_task())

    async def _cancel_task(self):
        # The task has begun: the thread takes the steps of coroutines in order.
        self._task.cancel()

    def exception(self):
        """None if the call has returned or was cancelled."""
        return None if self._future.cancelled() else self._future.exception()


if __name__ == "__main__":
    main(sys.argv[1:])
