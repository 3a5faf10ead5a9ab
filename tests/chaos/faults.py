"""Starts and stops the faults of a build with the chaos driver."""

import ctypes

from uring_loop.lazy import shared_object

# As enum uring_chaos_kind in chaos_source.h.
KINDS = (
    "short read", "short write", "read again", "write again", "interrupted", "reset",
    "accept again", "accept without resources", "accept aborted", "connect failed",
    "datagram without resources", "wait interrupted", "order", "spurious", "delayed",
    "pool empty", "multishot ends", "cancel late", "cancel loses",
)
# Calls that end a connection or an operation although the peer did nothing.
ENDING = ("reset", "accept aborted", "connect failed")


def library():
    """The functions of chaos.c; raises AttributeError in an ordinary build."""
    found = ctypes.CDLL(shared_object())
    found.uring_chaos_start.argtypes = (ctypes.c_uint64, ctypes.c_uint)
    found.uring_chaos_faults.restype = ctypes.c_uint64
    found.uring_chaos_decide.restype = ctypes.c_uint64
    return found


def is_built():
    return hasattr(ctypes.CDLL(shared_object()), "uring_chaos_start")


def start(seed, factor=1):
    """From now on; `factor` makes every fault that many times as frequent."""
    library().uring_chaos_start(seed, factor)


def stop():
    library().uring_chaos_stop()


def counts():
    """{kind: how many faults since the start}."""
    found = library()
    return {kind: found.uring_chaos_faults(number)
            for number, kind in enumerate(KINDS)}


def decisions(kind, count):
    """The next random numbers of this kind."""
    number, found = KINDS.index(kind), library()
    return [found.uring_chaos_decide(number) for _ in range(count)]
