"""The epoll driver's C, tested by C programs; where it can, beside the kernel's own.

driver_common*.c have promises of both drivers: each function runs on an epoll ring and
on an io_uring ring, and both have to hear the same. epoll_*.c have what only the epoll
driver has to promise. On epoll the programs forbid themselves io_uring by a seccomp
filter that kills, see driver_kit.h.
"""

import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import HERE, INCLUDE, compiled_before, run

CC = shlex.split(os.environ.get("CC", "cc"))
STRICT = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZERS = "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
EXIT_SKIPPED = 77
COMMON = "driver_common.c", "driver_common_waits.c"
OWN = "epoll_files.c", "epoll_waits.c", "epoll_memory.c", "epoll_watches.c"


def c_tests(sources):
    """(file, name) of each TEST in the C sources."""
    return [(source, name) for source in sources
            for name in re.findall(r"^TEST\((\w+)\)", (HERE / source).read_text(),
                                   re.MULTILINE)]


def has_sanitizers(folder):
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    program = folder / "empty"
    return (subprocess.run([*CC, *SANITIZERS, source, "-o", program],
                           capture_output=True).returncode == 0
            and subprocess.run([program], capture_output=True).returncode == 0)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """{name of the C file: the compiled program}"""
    folder = compiled_before()
    if folder is None:
        if shutil.which(CC[0]) is None:
            pytest.skip(f"no C compiler ({CC[0]}): install gcc")
        folder = tmp_path_factory.mktemp("epoll_driver")
        compile_programs(folder)
    return {name: folder / name.removesuffix(".c") for name in (*COMMON, *OWN)}


def compile_programs(folder):
    options = SANITIZERS if has_sanitizers(folder) else ()

    def compile_one(name):
        run(*CC, *STRICT, *options, "-D_GNU_SOURCE", "-I", INCLUDE, HERE / name,
            "-o", folder / name.removesuffix(".c"))

    # Side by side: each takes seconds.
    with ThreadPoolExecutor(os.cpu_count()) as compilers:
        list(compilers.map(compile_one, (*COMMON, *OWN)))


def outcome(program, driver, test):
    """What the test printed; its complaint is the failure."""
    done = subprocess.run([program, driver, test], capture_output=True, text=True)
    if done.returncode == EXIT_SKIPPED and driver == "io_uring":
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("source, test", c_tests(COMMON))
def test_both_drivers_hear_the_same(programs, source, test):
    heard = outcome(programs[source], "epoll", test)
    assert heard, "a test that hears nothing compares nothing"
    assert heard == outcome(programs[source], "io_uring", test)


@pytest.mark.parametrize("source, test", c_tests(OWN))
def test_epoll_driver(programs, source, test):
    outcome(programs[source], "epoll", test)


def test_the_filter_kills(programs):
    """Otherwise the other tests would prove nothing about io_uring's calls."""
    done = subprocess.run([programs["epoll_waits.c"], "epoll", "call_io_uring"],
                          capture_output=True)
    assert done.returncode == -31  # SIGSYS
