"""Source text for a child that forbids itself the io_uring system calls.

A classic BPF program answers 425 to 427 with an action of seccomp and clone3 with
ENOSYS, as the default profiles of Docker and containerd do, and lets all others pass.
It is installed by prctl, without any library, and outlives an exec.
"""

FORBID_IO_URING = """\
import ctypes, struct
def install_filter(action):
    LOAD, JUMP_EQUAL, JUMP_BELOW, JUMP_ABOVE, RETURN = 0x20, 0x15, 0x35, 0x25, 0x06
    ALLOW, ENOSYS = 0x7FFF0000, 0x00050000 | 38
    program = b"".join(struct.pack("HBBI", *step) for step in [
        (LOAD, 0, 0, 0),               # the number of the system call
        (JUMP_EQUAL, 4, 0, 435),       # clone3: ENOSYS, so that libc uses clone
        (JUMP_BELOW, 0, 2, 425),       # >= 425, else to ALLOW
        (JUMP_ABOVE, 1, 0, 427),       # > 427 to ALLOW
        (RETURN, 0, 0, action),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ENOSYS),
    ])
    memory = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    descriptor = ctypes.create_string_buffer(filter_)
    assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
    result = libc.prctl(22, 2, ctypes.addressof(descriptor), 0, 0)
    assert result == 0, f"PR_SET_SECCOMP: {ctypes.get_errno()}"
    return libc
def forbid_io_uring(errno):
    libc = install_filter(0x00050000 | errno)      # SECCOMP_RET_ERRNO
    assert libc.syscall(425, 1, None) == -1 and ctypes.get_errno() == errno
def die_of_io_uring():
    install_filter(0x80000000)                     # SECCOMP_RET_KILL_PROCESS
"""
