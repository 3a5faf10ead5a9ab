"""Builds the compiled modules; everything else stands in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

if not sys.platform.startswith("linux"):
    sys.exit("uring_loop needs Linux: io_uring exists nowhere else.")

MODULES = ("_ring", "_loop", "_watch", "_transport", "_stream", "_accept")

extensions = [
    Extension(
        f"uring_loop.{name}",
        [f"uring_loop/{name}.pyx"],
        include_dirs=["include"],
        depends=["include/uring.h", "include/uring_abi.h", "include/uring_prep.h"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=os.environ.get("URING_LOOP_CFLAGS", "-O2").split(),
    )
    for name in MODULES
]

setup(ext_modules=cythonize(
    extensions,
    compiler_directives={
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "initializedcheck": False,
        "embedsignature": True,
    },
))
