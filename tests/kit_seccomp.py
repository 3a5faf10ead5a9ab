"""Seccomp filters for a process that is to be refused system calls, as in a container.

They are installed by prctl(2), without any library, and outlive an exec. A child
started with `python -c` has no package to import this from: `source()` is the text of
this file.
"""

import ctypes
import struct

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
LOAD, EQUAL, NOT_BELOW, ABOVE, RETURN = 0x20, 0x15, 0x35, 0x25, 0x06
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
# Where seccomp's data has the call's number, and the low half of its second argument.
NUMBER, SECOND_ARGUMENT = 0, 24
# The same numbers on every architecture.
IO_URING_SETUP, IO_URING_REGISTER, CLONE3 = 425, 427, 435
ENOSYS = 38


def source():
    with open(__file__, encoding="utf-8") as file:
        return file.read()


def assemble(steps):
    """(code, jump if true, jump if false, value) of each instruction, as bytes."""
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def install(program):
    """Put a filter on this process; returns libc, whose errno ctypes keeps."""
    memory = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    descriptor = ctypes.create_string_buffer(struct.pack(
        "HxxxxxxP", len(program) // struct.calcsize("HBBI"), ctypes.addressof(memory)))
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    result = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                        ctypes.addressof(descriptor), 0, 0)
    assert result == 0, f"PR_SET_SECCOMP: {ctypes.get_errno()}"
    return libc


def answer_io_uring(action):
    """Let an action answer the three io_uring calls. clone3 is ENOSYS, as under the
    default profiles of Docker and containerd, so that libc uses clone."""
    return install(assemble([
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 4, 0, CLONE3),
        (NOT_BELOW, 0, 2, IO_URING_SETUP),
        (ABOVE, 1, 0, IO_URING_REGISTER),
        (RETURN, 0, 0, action),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ERRNO | ENOSYS),
    ]))


def forbid_io_uring(errno):
    libc = answer_io_uring(ERRNO | errno)
    assert libc.syscall(IO_URING_SETUP, 1, None) == -1 and ctypes.get_errno() == errno


def die_of_io_uring():
    answer_io_uring(KILL_PROCESS)


def forbid(number, errno, second_argument=None):
    """Make one system call fail, or only with this second argument."""
    only = () if second_argument is None else (
        (LOAD, 0, 0, SECOND_ARGUMENT), (EQUAL, 0, 1, second_argument))
    install(assemble([
        (LOAD, 0, 0, NUMBER), (EQUAL, 0, 1 + len(only), number), *only,
        (RETURN, 0, 0, ERRNO | errno), (RETURN, 0, 0, ALLOW)]))
