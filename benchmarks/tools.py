"""The programs a run needs besides Python: found, built, or named with their cure."""

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.process import BenchmarkError

CLIENT = Path(__file__).resolve().parent / "client"
COMPILE_SECONDS = 60
# Debian's package for each program.
PACKAGES = {"cc": "gcc libc6-dev", "wrk": "wrk", "strace": "strace",
            "openssl": "openssl", "redis-server": "redis-server",
            "perf": "linux-perf", "valgrind": "valgrind"}


def need_program(name):
    """The path of a program, or an error that names the package to install."""
    path = shutil.which(name)
    if not path:
        raise BenchmarkError(
            f"{name} is not installed; run: apt install {PACKAGES[name]}")
    return path


def need_module(name, distribution=None):
    if importlib.util.find_spec(name) is None:
        raise BenchmarkError(f"Python module {name} is not installed; run: "
                             f"pip install {distribution or name}")


@functools.cache
def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "uring_loop-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def load_client(tls=False):
    """Path of the compiled load client; it is compiled when its source changed."""
    sources = sorted(CLIENT.glob("*.c"))
    digest = hashlib.sha256()
    for path in sorted(CLIENT.glob("*.[ch]")):
        digest.update(path.read_bytes())
    name = f"client-{digest.hexdigest()[:16]}{'-tls' if tls else ''}"
    program = cache_folder() / name
    if program.exists():
        return program
    flags = ["-DWITH_TLS"] if tls else []
    libraries = ["-lssl", "-lcrypto"] if tls else []
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        output = os.path.join(folder, "client")
        result = subprocess.run(
            [need_program("cc"), "-O2", "-Wall", "-Wextra", *flags, "-o", output,
             *map(str, sources), *libraries],
            capture_output=True, text=True, timeout=COMPILE_SECONDS)
        if result.returncode:
            cure = "; run: apt install libssl-dev" if tls else ""
            lines = result.stderr.strip().splitlines() or ["no message"]
            raise BenchmarkError(f"load client does not compile: {lines[0]}{cure}")
        os.replace(output, program)
    return program


def certificate(scratch):
    """A key and a self-signed certificate for 127.0.0.1, in one file."""
    key, chain = scratch.file("key.pem"), scratch.file("chain.pem")
    subprocess.run(
        [need_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True, timeout=COMPILE_SECONDS)
    Path(chain).write_bytes(Path(key).read_bytes() + Path(chain).read_bytes())
    return chain
