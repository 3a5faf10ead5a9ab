"""Chooses the driver of a loop's ring, io_uring or epoll, and keeps the reason."""

import errno
import itertools
import logging
import os

logger = logging.getLogger("uring_loop")

BACKENDS = ("auto", "io_uring", "epoll")
VARIABLE = "URING_LOOP_BACKEND"
SYSCTL = "/proc/sys/kernel/io_uring_disabled"
# What an administrator can change, so that the fallback deserves a warning.
CURABLE = (errno.EPERM, errno.EACCES, errno.ENOMEM)
# Counts the warnings; next() of it is atomic, also between threads.
_warnings = itertools.count()


def requested_backend(backend):
    """The argument, else the environment variable, else "auto"; ValueError if
    unknown."""
    source = "backend"
    if backend is None:
        backend = os.environ.get(VARIABLE) or "auto"
        source = VARIABLE
    if backend == "selector":
        raise ValueError(
            f"{source} 'selector' has become 'epoll': uring_loop's own transports on "
            "an epoll set, without io_uring")
    if backend not in BACKENDS:
        raise ValueError(
            f"{source} must be one of {', '.join(BACKENDS)}, not {backend!r}")
    return backend


def fall_back(exc):
    """Log that epoll is used instead of io_uring; returns the reason.

    The level is WARNING once in a process for a cause that can be cured, else INFO.
    """
    reason = explain(exc)
    if exc.errno in CURABLE and next(_warnings) == 0:
        logger.warning("io_uring cannot be used, falling back to epoll: %s "
                       "(%s=epoll silences this warning)", reason, VARIABLE)
    else:
        logger.info("io_uring cannot be used, falling back to epoll: %s", reason)
    return reason


def explain(exc):
    """Describe cause and cure of an error of io_uring_setup()."""
    return f"{errno.errorcode.get(exc.errno, exc.errno)}: {cause(exc.errno)}"


def cause(number):
    if number == errno.ENOMEM:
        return ("the ring's memory counts against RLIMIT_MEMLOCK for ordinary users: "
                "raise it (ulimit -l, systemd LimitMEMLOCK=, docker --ulimit memlock=) "
                "or close unused loops")
    if number == errno.ENOSYS:
        return (f"this kernel ({os.uname().release}) has no io_uring or an old one, or "
                "a seccomp filter hides it: Linux 5.11 or later is needed")
    if number in (errno.EPERM, errno.EACCES):
        return forbidden_by()
    if number in (errno.EMFILE, errno.ENFILE):
        return "no descriptor is free: raise RLIMIT_NOFILE (ulimit -n)"
    return f"io_uring_setup failed: {os.strerror(number)}"


def forbidden_by():
    """Describe what forbids io_uring: the sysctl if it is 1 (only io_uring_group may
    use io_uring) or 2 (nobody may), else a seccomp filter."""
    try:
        with open(SYSCTL) as file:
            value = int(file.read())
    except (OSError, ValueError):
        value = 0
    if value:
        return (f"sysctl kernel.io_uring_disabled={value} forbids it: "
                "set it to 0 (sysctl -w kernel.io_uring_disabled=0)")
    return ("a seccomp filter or security module forbids it (Docker's default profile "
            "does): allow io_uring_setup, io_uring_enter and io_uring_register")
