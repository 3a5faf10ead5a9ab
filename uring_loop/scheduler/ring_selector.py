"""The selector of a loop: what asyncio and tools see of its watches and of its ring."""

import selectors


class RingSelector(selectors.BaseSelector):
    """Stands where asyncio's loop has its selector; `watch_set` does the work.

    Tools put another select() in the place of this one, or a selector that wraps this
    one, to see or to change how long a loop sleeps (virtual time in tests). Then the
    loop waits by calling it. Completions are not among what select() returns: the loop
    reaps them itself.
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
        """By file or by number, as the mapping of asyncio's selector."""
        try:
            return self.get_map()[selectors._fileobj_to_fd(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def register(self, fileobj, events, data=None):
        raise RuntimeError("watches are added by add_reader() and add_writer()")

    def unregister(self, fileobj):
        raise RuntimeError("watches are removed by remove_reader() and remove_writer()")

    def select(self, timeout=None):
        """Sleep until the loop has something to do, or for so many seconds."""
        self._watch_set.wait_in_select(timeout)
        return []

    def close(self):
        self._watch_set.close()
