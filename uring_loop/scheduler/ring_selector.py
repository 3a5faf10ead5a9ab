"""loop._selector: the watches and the ring as asyncio and tools see them."""

import selectors


class RingSelector(selectors.BaseSelector):
    """The selector interface of a loop; its `WatchSet` does the work.

    Tools replace its select(), or wrap the selector in another one, to observe or
    change how long a loop sleeps (virtual time in tests). Then the loop sleeps by
    calling that select(). select() does not return completions: the loop reaps them
    itself.
    """

    def __init__(self, watch_set):
        self._watch_set = watch_set

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "select":
            self._watch_set.detect_overrides()

    def __delattr__(self, name):
        super().__delattr__(name)
        if name == "select":
            self._watch_set.detect_overrides()

    def get_map(self):
        return self._watch_set.keys()

    def get_key(self, fileobj):
        """Look up by file object or number, as asyncio's selector does."""
        try:
            return self.get_map()[selectors._fileobj_to_fd(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def register(self, fileobj, events, data=None):
        raise RuntimeError("watches are added by add_reader() and add_writer()")

    def unregister(self, fileobj):
        raise RuntimeError("watches are removed by remove_reader() and remove_writer()")

    def select(self, timeout=None):
        """Sleep until the loop has work, or for `timeout` seconds."""
        self._watch_set.wait_in_select(timeout)
        return []

    def close(self):
        self._watch_set.close()
