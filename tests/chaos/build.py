"""Builds variants of the package for tests, outside of the checkout's own build.

chaos      with the chaos driver (uring_chaos.h)
sanitized  the same, with AddressSanitizer and UndefinedBehaviorSanitizer
checked    the same, with Cython's own checks
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHAOS = {"URING_LOOP_BUILD_CHAOS": "1"}
# A null pointer with the size 0 is what an empty bytes-like object may have.
SANITIZE = ("-g -fno-omit-frame-pointer -fsanitize=address,undefined "
            "-fno-sanitize-recover=undefined")
VARIANTS = {
    "chaos": CHAOS,
    "sanitized": {**CHAOS, "CFLAGS": SANITIZE, "LDFLAGS": SANITIZE},
    "checked": {**CHAOS, "URING_LOOP_BUILD_CHECKS": "1"},
}
COPIED = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "include",
          "uring_loop", "tests")
SKIPPED = shutil.ignore_patterns("*.so", "__pycache__")


def main(name="chaos"):
    print(build(name))


def build(name):
    """The folder of the variant, to be put on PYTHONPATH; built if it is not up to
    date."""
    folder = ROOT / "build" / "variants" / f"{name}-{sys.implementation.cache_tag}"
    for part in COPIED:
        copy(ROOT / part, folder / part)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=os.environ | VARIANTS[name],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"the build of {name!r} failed:\n{done.stdout[-5000:]}")
    return folder


def environment(folder):
    """What a process needs to run with the variant in this folder."""
    found = {"PYTHONPATH": str(folder)}
    if folder.name.startswith("sanitized"):
        found |= {
            "LD_PRELOAD": " ".join(map(library, ("libasan.so", "libubsan.so"))),
            # CPython frees little at its end.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "PYTHONMALLOC": "malloc",
        }
    return found


def library(name):
    """The path of one of gcc's libraries."""
    asked = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True).stdout.strip()


def copy(source, target):
    """Copy what is new or has changed, with its time: the build compares times."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        return
    shutil.copytree(source, target, copy_function=copy_changed, dirs_exist_ok=True,
                    ignore=ignored)


def copy_changed(source, target):
    if (not os.path.exists(target)
            or os.path.getmtime(source) != os.path.getmtime(target)):
        shutil.copy2(source, target)


def ignored(folder, names):
    """Products of the checkout's own build: C files that Cython has made are some."""
    made = {name.removesuffix("pyx") + "c" for name in names if name.endswith(".pyx")}
    return {*SKIPPED(folder, names), *made.intersection(names)}


if __name__ == "__main__":
    main(*sys.argv[1:])
