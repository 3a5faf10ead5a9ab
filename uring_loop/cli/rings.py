"""Finds out what the kernel does with rings, in children that may be killed for it."""

import ctypes
import errno
import mmap
import os
import resource
import signal

from uring_loop.cli.facts import limit_of
from uring_loop.driver.ring import Ring

IO_URING_SETUP = 425    # the same number on every architecture
SQ_ENTRIES = 256        # those of a loop that nobody has told otherwise
SMALLEST_SQ_ENTRIES = 8
SQE_BYTES, CQE_BYTES, HEADER_BYTES = 64, 16, 64


def kills():
    """Does a seccomp filter end the process for a call of io_uring?"""
    return in_child(ask_for_no_ring) == -signal.SIGSYS


def ask_for_no_ring():
    # Without parameters: a kernel that would allow a ring answers EFAULT.
    ctypes.CDLL(None).syscall(IO_URING_SETUP, 1, None)
    return 0


def memlock():
    """The limit RLIMIT_MEMLOCK, and how many loops at a time fit into it.

    limit   bytes, None: no limit
    counts  does ring memory count against it for this user on this kernel? None: the
            kernel makes no ring
    loops   the number that fits, over all processes of the user; None: no limit
    """
    limit = limit_of(resource.RLIMIT_MEMLOCK)
    answer = in_child(ring_without_memlock)
    counts = {0: False, errno.ENOMEM: True}.get(answer)
    loops = None
    if counts and limit is not None:
        loops = loops_within(limit)
    return {"limit": limit, "counts": counts, "loops": loops}


def ring_without_memlock():
    """0 or the errno with which a ring is refused if no memory may be locked."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    try:
        Ring(sq_entries=SMALLEST_SQ_ENTRIES).close()
    except OSError as exc:
        return exc.errno
    return 0


def loops_within(limit):
    """How many loops fit: a loop takes a ring half as large where there is no room."""
    count, entries = 0, SQ_ENTRIES
    while entries >= SMALLEST_SQ_ENTRIES:
        count += limit // ring_bytes(entries)
        limit %= ring_bytes(entries)
        entries //= 2
    return count


def ring_bytes(sq_entries):
    """The memory of a ring: entries on pages of their own, and the completions, four
    for each entry."""
    return (in_pages(sq_entries * SQE_BYTES)
            + in_pages(HEADER_BYTES + 4 * sq_entries * CQE_BYTES))


def in_pages(size):
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def in_child(function):
    """Call it in a forked child; its result (0 to 255), or minus the signal that ended
    the child."""
    pid = os.fork()
    if pid == 0:
        result = 255
        try:
            result = function()
        finally:
            # Neither atexit functions nor buffered output of the parent.
            os._exit(result)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
