"""What the doctor reads of the system: versions, kernel, limits, CPUs, seccomp."""

import os
import platform
import resource
import ssl
import sys
from importlib import metadata

from uring_loop._version import __version__
from uring_loop.driver import backend

# Packages whose versions belong into a report of a bug, if they are installed.
PACKAGES = ("uvloop", "uvicorn", "gunicorn", "aiohttp", "anyio")
SECCOMP = {"0": "off", "1": "strict", "2": "filter"}
CPU_QUOTA = "/sys/fs/cgroup/cpu.max"


def versions():
    return {
        "uring_loop": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "openssl": ssl.OPENSSL_VERSION,
        "libc": libc(),
        "packages": installed(),
    }


def libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):
        return "not glibc"


def installed():
    """{package: version} of those that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found


def kernel():
    uname = os.uname()
    return {
        "release": uname.release,
        "machine": uname.machine,
        # None: this kernel has no such setting (it came with Linux 6.6).
        "io_uring_disabled": number_in(backend.SYSCTL),
        "io_uring_group": number_in(os.path.join(
            os.path.dirname(backend.SYSCTL), "io_uring_group")),
    }


def number_in(path):
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def process():
    """User and seccomp state of this process."""
    status = process_status()
    mode = status.get("Seccomp")
    return {
        "uid": os.getuid(),
        "seccomp": SECCOMP.get(mode, mode or "unknown"),
        # Missing before Linux 5.9.
        "seccomp_filters": int(status.get("Seccomp_filters", 0)),
        "no_new_privileges": status.get("NoNewPrivs") == "1",
    }


def process_status():
    """The fields of /proc/self/status; none where /proc is not mounted."""
    try:
        with open("/proc/self/status") as file:
            pairs = [line.split(":", 1) for line in file if ":" in line]
    except OSError:
        return {}
    return {name: value.strip() for name, value in pairs}


def cpus():
    return {
        "usable": len(os.sched_getaffinity(0)),
        "online": os.cpu_count(),
        # CPUs' worth of time that the cgroup allows, as in containers; None: no limit.
        "quota": cpu_quota(),
    }


def cpu_quota():
    try:
        with open(CPU_QUOTA) as file:
            allowed, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if allowed == "max" else int(allowed) / int(period)


def descriptors():
    """The soft limit of open files; None: no limit."""
    return limit_of(resource.RLIMIT_NOFILE)


def limit_of(kind):
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft
