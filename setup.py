"""Builds the compiled modules; everything else stands in pyproject.toml."""

import glob
import sys

if not sys.platform.startswith("linux"):
    sys.exit("uring_loop needs Linux: io_uring exists nowhere else.")

from Cython.Build import cythonize  # noqa: E402 (the sentence above comes first)
from setuptools import Extension, setup  # noqa: E402


def module_name(source):
    return source.removesuffix(".pyx").replace("/", ".")


extensions = [
    Extension(
        module_name(source),
        [source],
        include_dirs=["include"],
        depends=glob.glob("include/*.h"),
        define_macros=[("_GNU_SOURCE", None)],
        # Stated, since CFLAGS of the environment may replace Python's own.
        extra_compile_args=["-O2"],
    )
    for source in sorted(glob.glob("uring_loop/*/*.pyx"))
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
