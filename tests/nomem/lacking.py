"""An iteration of a loop in which memory is missing, that of CPython or of C."""

import asyncio
import ctypes
import errno
import pathlib
import subprocess
import threading

SOURCE = pathlib.Path(__file__).with_name("malloc.c")


class PythonLacks:
    """Fails `count` of CPython's allocations from the n-th on, counted from begin()."""

    def __init__(self, first, count):
        import _testcapi

        self.begin = lambda: _testcapi.set_nomemory(first, first + count)
        self.end = _testcapi.remove_mem_hooks


class CLacks:
    """Fails `count` calls of malloc(3) from the n-th on, in a process that has
    malloc.c preloaded.

    CPython's small objects are not among them: it takes memory for these by mmap(2).
    """

    def __init__(self, first, count):
        library = ctypes.CDLL(None)
        first, count = ctypes.c_long(first), ctypes.c_long(count)
        self.begin = lambda: library.nomem_begin(first, count)
        self.stop = library.nomem_end

    def end(self):
        # The call itself may need memory; fewer calls fail than there are attempts.
        for _ in range(20):
            try:
                return self.stop()
            except MemoryError:
                continue


KINDS = {"python": PythonLacks, "c": CLacks}


def preloaded(folder):
    """The path of malloc.c, compiled, for LD_PRELOAD."""
    library = folder / "malloc.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror",
                    SOURCE, "-o", library], check=True)
    return str(library)


def turn(loop, count=5):
    for _ in range(count):
        loop.run_until_complete(asyncio.sleep(0))


def run_lacking(loop, lacking, function=lambda: None, elsewhere=False):
    """Run the loop for one iteration in which memory is missing, from the function on;
    `elsewhere`: from its start on, in another thread, to which the loop moves."""
    def start():
        # Made before: the end of the run needs memory, too. They run behind the
        # completions of this iteration.
        loop.call_soon(lacking.end)
        loop.call_soon(loop.stop)
        lacking.begin()
        function()

    def run():
        if elsewhere:
            lacking.begin()
        try:
            loop.run_forever()
        except MemoryError:
            pass
        except OSError as exc:
            # What the C library says of it.
            if exc.errno != errno.ENOMEM:
                raise
        finally:
            lacking.end()

    if elsewhere:
        loop.call_soon(loop.stop)
        in_thread(run)
    else:
        loop.call_soon(start)
        run()
    # The stop() that a failed run has not used.
    loop.call_soon(loop.stop)
    loop.run_forever()


def in_thread(run):
    """Call it in a thread; what it raises is raised here."""
    raised = []

    def call():
        try:
            run()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
