"""Turns a container runtime's seccomp profile into a filter, as libseccomp does.

x86-64 only, since numbers of system calls differ.
"""

import pathlib
import re

from ..kit_seccomp import (
    ABOVE, ALLOW, EQUAL, ERRNO, LOAD, NOT_BELOW, NUMBER, RETURN, assemble, source)

ARCH_X86_64 = 0xC000003E
AND = 0x54
ARCH, ARGUMENTS = 4, 16
LOW_HALF = 0xFFFFFFFF
HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
           "/usr/include/asm/unistd_64.h")
# Newer than some headers.
NEWER = {"cachestat": 451, "fchmodat2": 452, "futex_wake": 454, "futex_wait": 455,
         "futex_requeue": 456, "mseal": 462}


def installing(profile):
    """Source text that installs the profile."""
    return f"{source()}\ninstall({program(profile)!r})\n"


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
    return assemble(steps)


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
            return [load, (NOT_BELOW, None, 0, value)]
        case "SCMP_CMP_GT":
            return [load, (ABOVE, 0, None, value)]
        case "SCMP_CMP_MASKED_EQ":
            return [load, (AND, 0, 0, value), (EQUAL, 0, None, argument["valueTwo"])]
    raise ValueError(argument)
