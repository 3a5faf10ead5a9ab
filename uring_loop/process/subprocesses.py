"""Processes that the loop has started: each is waited for by its pidfd.

A pidfd becomes readable when its process has ended. So nobody listens to SIGCHLD, no
thread waits, and a loop can have children in any thread. Linux 5.4 or later. Where
pidfds are missing or forbidden, or a program has set a child watcher of its own (Python
3.11 to 3.13), asyncio's way is taken.
"""

import os
from asyncio import tasks, unix_events

from uring_loop import _compat

# What asyncio reports of a process whose exit status somebody else has read.
UNKNOWN_STATUS = 255


def are_ours_to_watch():
    """May pidfds be used here, or is it asyncio's own business?"""
    return not _compat.has_other_child_watcher() and pidfds_work()


def pidfds_work():
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        # An old kernel, or a seccomp filter.
        return False
    return True


async def start(loop, protocol, args, shell, stdin, stdout, stderr, bufsize,
                extra=None, **kwargs):
    """asyncio's _make_subprocess_transport, with a pidfd for its child watcher."""
    waiter = loop.create_future()
    transport = unix_events._UnixSubprocessTransport(
        loop, protocol, args, shell, stdin, stdout, stderr, bufsize,
        waiter=waiter, extra=extra, **kwargs)
    try:
        watch(loop, transport)
        await waiter
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        transport.close()
        # To the end, so that no zombie is left.
        await tasks.shield(transport._wait())
        raise
    return transport


def watch(loop, transport):
    pid = transport.get_pid()
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        # It has ended, and its status is gone: somebody ignores SIGCHLD.
        loop.call_soon(transport._process_exited, status_of_stranger(pid))
        return
    loop._pidfds.add(pidfd)
    loop._add_reader(pidfd, ended, loop, pidfd, transport)


def ended(loop, pidfd, transport):
    loop._remove_reader(pidfd)
    loop._pidfds.remove(pidfd)
    try:
        # By pidfd: the number may be another child's by now.
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        returncode = status_of_stranger(transport.get_pid())
    else:
        exited = info.si_code == os.CLD_EXITED
        returncode = info.si_status if exited else -info.si_status
    finally:
        os.close(pidfd)
    # At once or an iteration later, as this version of asyncio says it. Between the two
    # a signal could reach another process, which has got the number.
    loop._child_watcher_callback(transport.get_pid(), returncode, transport)


def status_of_stranger(pid):
    unix_events.logger.warning(
        "child process pid %d exit status already read: "
        " will report returncode %d", pid, UNKNOWN_STATUS)
    return UNKNOWN_STATUS
