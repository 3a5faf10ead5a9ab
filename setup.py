"""Builds the compiled modules; everything else stands in pyproject.toml."""

import glob
import sys

if not sys.platform.startswith("linux"):
    sys.exit("uring_loop needs Linux: io_uring exists nowhere else.")

from Cython.Build import cythonize  # noqa: E402 (the sentence above comes first)
from setuptools import Extension, setup  # noqa: E402

MODULES = ("_ring", "_handles", "_poll", "_loop", "_watch", "_guest", "_cork",
           "_backlog", "_address", "_transport", "_stream", "_datagram", "_sockops",
           "_tls", "_accept", "_pipe", "_files")

extensions = [
    Extension(
        f"uring_loop.{name}",
        [f"uring_loop/{name}.pyx"],
        include_dirs=["include"],
        depends=sorted(glob.glob("include/*.h")),
        define_macros=[("_GNU_SOURCE", None)],
        # Stated, since CFLAGS of the environment may replace Python's own.
        extra_compile_args=["-O2"],
    )
    for name in MODULES
]

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "embedsignature": True,
        },
    ),
    # As many C compilers at a time as there are processors.
    options={"build_ext": {"parallel": True}},
)
