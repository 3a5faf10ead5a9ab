"""Turns a container runtime's seccomp profile into a filter, as libseccomp does.

`SOURCE` is text for a child: `install(program)` puts the filter on the process. x86-64
only, since numbers of system calls differ.
"""

import pathlib
import re
import struct

ARCH_X86_64 = 0xC000003E
LOAD, AND, EQUAL, ABOVE, FROM, RETURN = 0x20, 0x54, 0x15, 0x25, 0x35, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
LOW_HALF = 0xFFFFFFFF
HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
           "/usr/include/asm/unistd_64.h")
# Newer than some headers.
NEWER = {"cachestat": 451, "fchmodat2": 452, "futex_wake": 454, "futex_wait": 455,
         "futex_requeue": 456, "mseal": 462}

SOURCE = """\
import ctypes, struct
def install(program):
    memory = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    descriptor = ctypes.create_string_buffer(filter_)
    assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
    result = libc.prctl(22, 2, ctypes.addressof(descriptor), 0, 0)
    assert result == 0, f"PR_SET_SECCOMP: {ctypes.get_errno()}"
"""


def installing(profile):
    """Source text that installs the profile."""
    return f"{SOURCE}install({program(profile)!r})\n"


def numbers():
    """{name of a system call: its number}"""
    header = next(path for path in map(pathlib.Path, HEADERS) if path.exists())
    found = re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())
    return NEWER | {name: int(number) for name, number in found}


def program(profile):
    """The filter's instructions as bytes. Rules are tried in their order."""
    known = numbers()
    steps = [(LOAD, 0, 0, ARCH), (EQUAL, 1, 0, ARCH_X86_64),
             (RETURN, 0, 0, ERRNO | profile["defaultErrnoRet"])]
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            if name in known:
                steps += steps_of(known[name], rule)
    steps.append((RETURN, 0, 0, ERRNO | profile["defaultErrnoRet"]))
    assert len(steps) <= 4096
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def steps_of(number, rule):
    body = [step for argument in rule.get("args", ()) for step in compared(argument)]
    # A comparison that fails goes on behind the rule: how far is known only here.
    body.append((RETURN, 0, 0, answer(rule)))
    for index, (code, yes, no, value) in enumerate(body):
        rest = len(body) - index - 1
        body[index] = (code, *(rest if jump is None else jump for jump in (yes, no)),
                       value)
    return [(LOAD, 0, 0, NUMBER), (EQUAL, 0, len(body), number), *body]


def answer(rule):
    if rule["action"] == "SCMP_ACT_ALLOW":
        return ALLOW
    assert rule["action"] == "SCMP_ACT_ERRNO", rule
    return ERRNO | rule["errnoRet"]


def compared(argument):
    """Instructions that go on if the argument's low half compares; None: else away."""
    value = argument["value"] & LOW_HALF
    load = (LOAD, 0, 0, ARGUMENTS + 8 * argument["index"])
    match argument["op"]:
        case "SCMP_CMP_EQ":
            return [load, (EQUAL, 0, None, value)]
        case "SCMP_CMP_LT":
            return [load, (FROM, None, 0, value)]
        case "SCMP_CMP_GT":
            return [load, (ABOVE, 0, None, value)]
        case "SCMP_CMP_MASKED_EQ":
            return [load, (AND, 0, 0, value), (EQUAL, 0, None, argument["valueTwo"])]
    raise ValueError(argument)
