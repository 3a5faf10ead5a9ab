"""Builds the compiled modules; everything else stands in pyproject.toml."""

import glob
import os
import shutil
import sys
import sysconfig

if not sys.platform.startswith("linux"):
    sys.exit("uring_loop needs Linux: other systems have neither io_uring nor epoll.")

from concurrent.futures import ThreadPoolExecutor  # noqa: E402 (after the check above)

try:
    from Cython.Build import cythonize  # noqa: E402
except ImportError:
    cythonize = None        # the sdist has the C files that Cython would make
from setuptools import Extension, setup  # noqa: E402
from setuptools.command.build_ext import build_ext  # noqa: E402

HEADERS = glob.glob("include/*.h")
# Two builds for tests only, made by tests/chaos/build.py; not part of an sdist. With
# the chaos driver, and with Cython's own checks of indexes, None and views.
CHAOS = "URING_LOOP_BUILD_CHAOS" in os.environ
CHECKS = "URING_LOOP_BUILD_CHECKS" in os.environ


def module_name(source):
    return source.removesuffix(".pyx").replace("/", ".")


def generated_sources():
    """The C files of all compiled modules, made or brought up to date by Cython if it
    is there."""
    sources = sorted(glob.glob("uring_loop/*/*.pyx"))
    if cythonize is None:
        made = [source.removesuffix(".pyx") + ".c" for source in sources]
        if not all(map(os.path.exists, made)):
            sys.exit("The C files of uring_loop have not been made: they need Cython "
                     "(pip install 'Cython>=3.3,<3.4'), or come with the sdist.")
        return made
    modules = [Extension(module_name(source), [source]) for source in sources]
    modules = cythonize(
        modules,
        compiler_directives={
            "language_level": 3,
            "boundscheck": CHECKS,
            "wraparound": False,
            "initializedcheck": CHECKS,
            "nonecheck": CHECKS,
            "embedsignature": True,
            # On a free-threaded Python the import leaves the GIL off.
            "freethreading_compatible": True,
            # None of the classes can be pickled: no methods that say so.
            "auto_pickle": False,
        },
    )
    return [source for module in modules for source in module.sources]


def flags():
    """(for the compiler, for the linker). Debug information only for who asks for it:
    it is most of the file."""
    # Stated, since CFLAGS of the environment may replace Python's own.
    compiling, linking = ["-O2", "-fvisibility=hidden"], []
    # Cython's functions that unpack strings are there where no string is packed.
    compiling.append("-Wno-unused-function")
    if sys.version_info >= (3, 15):
        # Its type object has a field that Cython 3.3 does not know and leaves at zero.
        compiling.append("-Wno-missing-field-initializers")
    if CHAOS:
        compiling += ["-include", "tests/chaos/uring_chaos.h", "-pthread"]
    if "-g" not in os.environ.get("CFLAGS", "").split():
        compiling.append("-g0")
        linking.append("-Wl,--strip-all")
    return compiling, linking


class BuildTogether(build_ext):
    """Compiles the C files of an extension at the same time, and only the changed."""

    def build_extensions(self):
        check_compiler(self.compiler.compiler[0])
        compile_all = self.compiler.compile

        def compile_each(sources, **options):
            def compile_one(source):
                found = self.compiler.object_filenames(
                    [source], output_dir=options["output_dir"])
                if self.force or is_older(found[0], [source, *options["depends"]]):
                    return compile_all([source], **options)
                return found

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [one for objects in pool.map(compile_one, sources)
                        for one in objects]

        self.compiler.compile = compile_each
        super().build_extensions()


def check_compiler(command):
    """Leave with a cure if there is no compiler, or if Python's headers are missing."""
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    python = "python%d.%d" % sys.version_info[:2]
    missing = []
    if shutil.which(command) is None:
        missing.append(("a C compiler", "build-essential", "gcc"))
    if not os.path.exists(header):
        missing.append((f"Python's headers ({header})", f"{python}-dev",
                        "python3-devel"))
    if missing:
        names, debian, fedora = (zip(*missing))
        sys.exit(f"To build uring_loop, {' and '.join(names)} must be installed. "
                 f"Debian, Ubuntu: apt install {' '.join(debian)}; "
                 f"Fedora: dnf install {' '.join(fedora)}")


def is_older(target, sources):
    """Is a file missing, or older than one of those that it is made of?"""
    if not os.path.exists(target):
        return True
    made = os.path.getmtime(target)
    return any(os.path.getmtime(source) > made for source in sources)


compiling, linking = flags()
setup(
    # One file for all modules: see uring_loop/lazy.py, which loads them.
    ext_modules=[
        Extension(
            "uring_loop._native",
            ["uring_loop/native.c", *generated_sources(),
             *(glob.glob("tests/chaos/*.c") if CHAOS else [])],
            include_dirs=["include"],
            depends=[*HEADERS, *glob.glob("tests/chaos/*.h"), "setup.py"],
            # Packed strings would be unpacked at each start: 0.2 ms of 4.
            define_macros=[("_GNU_SOURCE", None), ("CYTHON_COMPRESS_STRINGS", "0")],
            extra_compile_args=compiling,
            extra_link_args=linking,
        )
    ],
    cmdclass={"build_ext": BuildTogether},
)
