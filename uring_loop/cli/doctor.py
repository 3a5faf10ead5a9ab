"""The doctor: which driver loops use here and why, and whether it works."""

import argparse
import json
import os
import sys

from uring_loop.cli import facts, report, rings, selftest
from uring_loop.driver import backend
from uring_loop.driver import options as ring_options
from uring_loop.loop import Loop

WELL, COULD_BE_BETTER, BROKEN = 0, 1, 2
# With fewer loops than this, a program of several processes meets the limit.
FEW_LOOPS = 16

DESCRIPTION = """\
Reports which driver the loops of this Python use here and why, the limits that matter
to them, and the outcome of a self-test on each driver.

exit status: 0  loops use io_uring, or the driver that URING_LOOP_BACKEND names
             1  all works, and an administrator could make it better
             2  something does not work"""


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m uring_loop doctor", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--plain", action="store_true",
                        help="no colours, even if rich is installed")
    options = parser.parse_args(arguments)
    found = examine()
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        print()
    else:
        report.show(found, options.plain)
    return found["status"]


def examine():
    """The whole report as a dict that JSON can hold."""
    requested = os.environ.get(backend.VARIABLE) or "auto"
    # A fallback is in the report: no need to warn about it, too.
    backend.logger.disabled = True
    # First, and in a child: a filter that kills would kill the doctor, too.
    killed = rings.kills()
    found = {
        "versions": facts.versions(),
        "kernel": facts.kernel(),
        "process": facts.process(),
        "cpus": facts.cpus(),
        "descriptors": facts.descriptors(),
        "memlock": {"limit": None, "counts": None, "loops": None} if killed
        else rings.memlock(),
        "driver": chosen_driver(requested, killed),
        "self_test": {name: {"refused": KILLED} if killed and name == "io_uring"
                      else selftest.try_driver(name) for name in selftest.DRIVERS},
    }
    found["problems"] = problems(found)
    found["advice"] = advice(found)
    found["status"] = (BROKEN if found["problems"] else
                       COULD_BE_BETTER if found["advice"] else WELL)
    return found


KILLED = ("SIGSYS: a seccomp filter kills the process for io_uring_setup: set "
          f"{backend.VARIABLE}=epoll, or allow io_uring_setup, io_uring_enter and "
          "io_uring_register")


def chosen_driver(requested, killed):
    """What a loop without arguments gets."""
    if killed and requested != "epoll":
        return {"requested": requested, "error": KILLED}
    try:
        loop = Loop()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        return {"requested": requested, "error": reason}
    try:
        return {
            "requested": requested,
            "chosen": loop.backend,
            "reason": loop.backend_reason,
            "flags": list(loop.ring_flags),
            "refused": loop.ring_refused,
            "restrict": ring_options.requested_restriction(None),
            "restricted": loop.ring_restricted,
            "sq_entries": loop.ring.sq_entries,
            "cq_entries": loop.ring.cq_entries,
            "tls_engine": loop.tls_engine,
            "tls_engine_reason": loop.tls_engine_reason,
        }
    finally:
        loop.close()


def problems(found):
    """What does not work, a line for each."""
    lines = []
    if "error" in found["driver"]:
        lines.append(f"a loop cannot be made: {found['driver']['error']}")
    for driver, outcome in found["self_test"].items():
        if (driver == "epoll" and "refused" in outcome
                and outcome["refused"] != found["driver"].get("error")):
            lines.append(f"epoll is refused: {outcome['refused']}")
        for name, step in outcome.get("steps", {}).items():
            if "error" in step:
                lines.append(f"{name} on {driver} failed: {step['error']}")
    return lines


def advice(found):
    """What an administrator could make better, a line for each."""
    lines = []
    driver, memlock = found["driver"], found["memlock"]
    if driver["requested"] == "auto" and driver.get("chosen") == "epoll":
        lines.append(f"io_uring is not used: {driver['reason']}")
    if driver.get("chosen") == "io_uring":
        if memlock["loops"] is not None and memlock["loops"] < FEW_LOOPS:
            lines.append(
                f"RLIMIT_MEMLOCK has room for {memlock['loops']} loops of this user, "
                "further ones use epoll: raise it (ulimit -l, systemd LimitMEMLOCK=, "
                "docker --ulimit memlock=)")
        if driver["sq_entries"] < rings.SQ_ENTRIES:
            lines.append(
                f"the ring has {driver['sq_entries']} entries instead of "
                f"{rings.SQ_ENTRIES}: RLIMIT_MEMLOCK had no room for more")
    return lines
