"""Finds the real toolkits; says for which Python each has to be there.

PyGObject and tkinter come from Debian (python3-gi, python3-tk) for the system's Python,
in whose virtual environments Debian's packages cannot be seen: they are looked up where
Debian has them. There, as in CI, a toolkit that is missing is a failure. Another Python
may lack them: then its tests are skipped, since the system's Python runs the same.
"""

import contextlib
import importlib
import shutil
import sys

import pytest

DEBIAN = "/usr/lib/python3/dist-packages"
SYSTEM_PYTHON = sys.base_prefix == "/usr"


def need(name, package):
    """The module, or a failed test on the system's Python, or a skipped one."""
    with debian_packages():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            missing(f"{error}; for Debian's Python: apt install {package}")


def need_program(name):
    found = shutil.which(name)
    return found or missing(f"{name} is not installed: apt install {name.lower()}")


def missing(reason):
    if SYSTEM_PYTHON:
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def debian_packages():
    """Last on the path, so that nothing but what is missing comes from there."""
    if not SYSTEM_PYTHON or DEBIAN in sys.path:
        yield
        return
    sys.path.append(DEBIAN)
    try:
        yield
    finally:
        sys.path.remove(DEBIAN)
