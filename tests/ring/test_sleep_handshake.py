"""The sleep handshake's C, as built without a GIL: litmus tests on real processors, and
under ThreadSanitizer.

Cython's modules cannot run under ThreadSanitizer without a CPython that is built with
it; the handshake can, since it is C without Python.
"""

import shutil

import pytest

from .conftest import HERE, INCLUDE, run
from .test_epoll_driver import CC, STRICT

# gcc warns that it does not know fences: the queue of the test does not rely on them.
TSAN = "-fsanitize=thread", "-Wno-tsan"
# Without random addresses: some versions of the sanitizer refuse those of new kernels.
# Without another sanitizer, which .ci/sanitize preloads.
FIXED_ADDRESSES = "env", "-u", "LD_PRELOAD", "setarch", "-R"


@pytest.mark.parametrize("sanitizer, prefix", [
    pytest.param((), (), id="plain"), pytest.param(TSAN, FIXED_ADDRESSES, id="tsan")])
def test_no_wake_up_is_missed_and_no_closed_descriptor_written(
        tmp_path, sanitizer, prefix):
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no C compiler ({CC[0]}): install gcc")
    program = tmp_path / "sleep_handshake"
    run(*CC, *STRICT, *sanitizer, "-D_GNU_SOURCE", "-DPy_GIL_DISABLED", "-I", INCLUDE,
        HERE / "sleep_handshake.c", "-o", program, "-pthread")
    run(*prefix, program)
