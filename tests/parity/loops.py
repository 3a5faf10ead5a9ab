"""Name the loops under test and make them; the one list for parity and stress.

PARITY_LOOPS picks other loops, for instance `PARITY_LOOPS=uvloop` to see that
the bodies do notice a loop that differs, or `PARITY_LOOPS=stock` to see that a
body says the same thing twice.
"""

import asyncio
import ctypes
import functools
import os

import pytest

STOCK = "stock"
OURS = ("io_uring", "epoll")

IO_URING_SETUP = 425
PARAMS_BYTES = 120


def under_test():
    """The names of the loops that are held against the stock loop."""
    chosen = os.environ.get("PARITY_LOOPS", ",".join(OURS))
    return [name for name in chosen.split(",") if name]


def new(name):
    """Make a fresh loop; skip where the kernel refuses io_uring altogether."""
    if name == STOCK:
        return asyncio.SelectorEventLoop()
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    import uring_loop

    if name == "io_uring":
        skip_where_io_uring_is_refused()
    return uring_loop.new_event_loop(backend=name)


def name_of(loop):
    """The name that makes another loop of this kind."""
    if type(loop) is asyncio.SelectorEventLoop:
        return STOCK
    return getattr(loop, "backend", "uvloop")


def skip_where_io_uring_is_refused():
    refusal = io_uring_refusal()
    if refusal:
        pytest.skip(f"this machine refuses io_uring_setup: {os.strerror(refusal)}")


@functools.lru_cache(maxsize=None)
def io_uring_refusal():
    """0, or the errno with which the kernel refuses the plainest ring.

    Asked of the kernel directly, so that a fault of ours never becomes a skip.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(PARAMS_BYTES)
    ring_fd = libc.syscall(IO_URING_SETUP, 1, params)
    if ring_fd < 0:
        return ctypes.get_errno()
    os.close(ring_fd)
    return 0


if "uvloop" in under_test():
    # The first loop of libuv makes two descriptors for the process: no leak of a test.
    new("uvloop").close()
