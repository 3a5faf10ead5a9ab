"""Adds the three io_uring calls to a container runtime's own seccomp profile.

    python allow_io_uring.py default.json > with_io_uring.json

Docker's default profile is seccomp/default.json in github.com/moby/profiles; take the
one of your version. Nothing else of the profile changes.
"""

import json
import sys
from typing import Any

RULE = {
    "names": ["io_uring_setup", "io_uring_enter", "io_uring_register"],
    "action": "SCMP_ACT_ALLOW",
}


def allow_io_uring(profile: dict[str, Any]) -> dict[str, Any]:
    """The profile with one more rule, in front of all others."""
    return {**profile, "syscalls": [RULE, *profile["syscalls"]]}


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        json.dump(allow_io_uring(json.load(file)), sys.stdout, indent=2)
