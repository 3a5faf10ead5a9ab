"""Calls in the loop's default executor, with the interface of file operations."""

import asyncio
import functools


class Call:
    """A call in a thread, which starts at once; awaiting it returns its result.

    A cancelled task gets CancelledError when the call has returned: until then the
    thread may use the memory and the descriptor of the call.
    """

    def __init__(self, function, *args, **kwargs):
        loop = asyncio.get_running_loop()
        self.future = loop.run_in_executor(
            None, functools.partial(function, *args, **kwargs))

    def __await__(self):
        cancelled = None
        while not self.future.done():
            try:
                yield from asyncio.wait([self.future]).__await__()
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled
        return self.future.result()

    @property
    def late(self):
        """The result that a cancelled task has not received; None for an error."""
        if self.future.done() and self.future.exception() is None:
            return self.future.result()
        return None
