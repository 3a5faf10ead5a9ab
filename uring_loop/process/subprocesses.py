"""Subprocesses: the loop waits for each by its pidfd.

A pidfd becomes readable when its process has ended. So there is no handler of SIGCHLD
and no thread that waits, and a loop can have subprocesses in any thread. pidfds need
Linux 5.4. Where they are missing or forbidden, or a program has set a child watcher of
its own (Python 3.11 to 3.13), asyncio's method is used.
"""

import os
from asyncio import tasks, unix_events

from uring_loop import _compat

# asyncio's return code of a process whose exit status was read by other code.
UNKNOWN_STATUS = 255


def can_use_pidfds():
    """Can pidfds be used? If not, asyncio waits for processes."""
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
        # Wait for the end of the process, so that no zombie is left.
        await tasks.shield(transport._wait())
        raise
    return transport


def watch(loop, transport):
    pid = transport.get_pid()
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        # The process has ended without a status: the program ignores SIGCHLD.
        loop.call_soon(transport._process_exited, report_unknown_status(pid))
        return
    loop._pidfds.add(pidfd)
    loop._add_reader(pidfd, ended, loop, pidfd, transport)


def ended(loop, pidfd, transport):
    loop._remove_reader(pidfd)
    loop._pidfds.remove(pidfd)
    try:
        # By pidfd: the process id may be another child's by now.
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        returncode = report_unknown_status(transport.get_pid())
    else:
        exited = info.si_code == os.CLD_EXITED
        returncode = info.si_status if exited else -info.si_status
    finally:
        os.close(pidfd)
    # The callback of the child watcher reports at once or an iteration later, as this
    # version of asyncio does. A signal sent between the two could reach another process
    # with the same id.
    loop._child_watcher_callback(transport.get_pid(), returncode, transport)


def report_unknown_status(pid):
    unix_events.logger.warning(
        "child process pid %d exit status already read: "
        " will report returncode %d", pid, UNKNOWN_STATUS)
    return UNKNOWN_STATUS
