"""Find the programs and modules that a run needs, or name the package to install."""

import glob
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.measure.processes import BenchmarkError

OPENSSL_SECONDS = 60
# Debian's package for each program.
PACKAGES = {"cc": "gcc libc6-dev", "wrk": "wrk", "strace": "strace",
            "openssl": "openssl", "redis-server": "redis-server",
            "perf": "linux-perf", "valgrind": "valgrind",
            "initdb": "postgresql", "postgres": "postgresql"}
# Debian puts PostgreSQL's programs into a folder for each version.
FOLDERS = "/usr/lib/postgresql/*/bin"


def need_program(name):
    """The path of a program, or an error that names the package to install."""
    folders = [os.environ.get("PATH", os.defpath), *sorted(glob.glob(FOLDERS))]
    path = shutil.which(name, path=os.pathsep.join(folders))
    if not path:
        raise BenchmarkError(
            f"{name} is not installed; run: apt install {PACKAGES[name]}")
    return path


def need_module(name, distribution=None):
    if importlib.util.find_spec(name) is None:
        raise BenchmarkError(f"Python module {name} is not installed; run: "
                             f"pip install {distribution or name}")


def certificate(scratch):
    """A key and a self-signed certificate for 127.0.0.1, in one file."""
    key, chain = scratch.file("key.pem"), scratch.file("chain.pem")
    subprocess.run(
        [need_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True, timeout=OPENSSL_SECONDS)
    Path(chain).write_bytes(Path(key).read_bytes() + Path(chain).read_bytes())
    return chain
