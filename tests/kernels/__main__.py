"""Boots other kernels and runs the tests there: python -m tests.kernels 6.1 5.10 …

Needs root, debootstrap, mke2fs and qemu-system-x86_64. A version is the beginning of
that of a kernel of Debian: the newest that fits is taken, of all suites, backports and
security updates. Prints a table; everything lies in the folder of --work, with each
guest's console and results, which can be read while it runs.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from . import image, machine, table
from .archive import Archive

TOOLS = ("debootstrap", "mke2fs", "qemu-system-x86_64", "dpkg-deb", "chroot")
WORK = pathlib.Path(tempfile.gettempdir(), "uring-loop-kernels")
PARTS = "ring,files,guest,threads,stress,parity"
# Ten times slower than this machine, and it is shared.
SLOWNESS = {"tcg": 10, "kvm": 2}


def main():
    options = parsed()
    check_machine()
    options.work.mkdir(parents=True, exist_ok=True)
    disk = image.disk(options.work)
    if not (options.again and disk.exists()):
        image.make(options.work, "tests/requirements.txt")
    archive = Archive(options.work / "apt")
    archive.update()
    names = [archive.newest(version) for version in options.versions]
    failed = 0
    for name in names:
        guest = machine.Guest(options.work, name)
        try:
            guest.run(archive.unpacked(name), disk, options.accel, environment(options))
        except (subprocess.SubprocessError, RuntimeError) as exc:
            print(f"{name}: {exc}", flush=True)
        summary = table.Summary(name, guest.reported(), guest.trouble())
        print(summary.text(), flush=True)
        failed |= not summary.good()
    return failed


def parsed():
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernels", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+")
    parser.add_argument("--work", type=pathlib.Path, default=WORK)
    parser.add_argument("--parts", default=PARTS, help="folders of tests, or files")
    parser.add_argument("--loops", default="io_uring",
                        help="drivers of the tests that take any (io_uring,epoll)")
    parser.add_argument("--seconds", type=int, default=3600, help="for one guest")
    parser.add_argument("--accel", choices=SLOWNESS, default="tcg",
                        help="kvm, where the machine has it, or emulation")
    parser.add_argument("--slowness", type=float, help="factor of all deadlines")
    parser.add_argument("--again", action="store_true",
                        help="with the disk of the last run, whatever the sources are")
    return parser.parse_args()


def check_machine():
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        sys.exit(f"there is no {', '.join(lacking)} here (apt-get install)")
    if os.getuid() != 0:
        sys.exit("needs root, for debootstrap and chroot")


def environment(options):
    """What a guest is told."""
    slowness = options.slowness or SLOWNESS[options.accel]
    return {"PARTS": options.parts, "SECONDS": options.seconds,
            "PARITY_LOOPS": options.loops, "URING_TESTS_SLOWNESS": slowness}


if __name__ == "__main__":
    sys.exit(main())
