"""The guest's disk: a Debian with compiler and Python, and the package built there.

The guest has a system of its own, so that a kernel is all that it shares with nobody:
neither the Python nor the libraries of this machine are asked for anything.
"""

import os
import pathlib
import shutil
import subprocess

from tests.chaos import build

from .archive import main_mirror, run

SUITE = "trixie"
PACKAGES = ("python3-venv,python3-dev,gcc,libc6-dev,liburing-dev,busybox-static,"
            "iproute2,procps,netbase,openssl,ca-certificates")
SOURCES = "opt/src"
PYTHON = "/opt/venv/bin/python"
COMPILED = "/opt/compiled"
COMPILE = f"""import pathlib
from tests.ring.conftest import compile_ops
from tests.ring.test_epoll_driver import compile_programs
compile_ops(pathlib.Path({COMPILED!r}))
compile_programs(pathlib.Path({COMPILED!r}))"""
# What the tests may write; the image is thrown away after each guest.
SPARE_MEGABYTES = 1500
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")


def disk(folder):
    return folder / "disk.img"


def make(folder, requirements):
    """The image, of the sources as they are now."""
    tree = folder / "tree"
    if not (tree / "complete").exists():
        shutil.rmtree(tree, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, tree,
            main_mirror())
        (tree / "complete").touch()
    prepare_network(tree)
    for name in build.COPIED:
        build.copy(build.ROOT / name, tree / SOURCES / name)
    if not (tree / PYTHON[1:]).is_symlink():
        inside(tree, "python3", "-m", "venv", "/opt/venv")
    inside(tree, PYTHON, "-m", "pip", "install", "-q", "-r",
           f"/{SOURCES}/{requirements}")
    inside(tree, PYTHON, "setup.py", "-q", "build_ext", "--inplace",
           f"-j{os.cpu_count()}")
    compile_tests(tree)
    make_disk(tree, disk(folder))


def prepare_network(tree):
    """Names are asked of the servers that this machine asks, and its authorities are
    trusted. In the guest there is a loopback only."""
    shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, tree / str(AUTHORITIES)[1:])
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def compile_tests(tree):
    """Compilation takes minutes under emulation: pytest's own, and that of
    tests/ring."""
    inside(tree, "mkdir", "-p", COMPILED)
    inside(tree, PYTHON, "-c", COMPILE)
    inside(tree, PYTHON, "-m", "compileall", "-q", "/opt/venv", f"/{SOURCES}")
    subprocess.run(in_tree(tree, PYTHON, "-m", "pytest", "-q", "--collect-only",
                           "-p", "no:cacheprovider", "tests"),
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_disk(tree, file):
    megabytes = int(run("du", "-sm", tree).split()[0]) + SPARE_MEGABYTES
    file.unlink(missing_ok=True)
    # Without checksums ext4 wants no other module of the kernel.
    run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", tree, file,
        f"{megabytes}M")


def inside(tree, *command):
    return run(*in_tree(tree, *command))


def in_tree(tree, *command):
    """A command of the guest's system, run on this kernel."""
    return ["chroot", tree, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root", "LANG=C.UTF-8", f"PIP_CERT={AUTHORITIES}",
            "PIP_ROOT_USER_ACTION=ignore", "PIP_DISABLE_PIP_VERSION_CHECK=1",
            "sh", "-c", f'cd /{SOURCES} && exec "$@"', "sh", *command]
