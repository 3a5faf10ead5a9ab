"""Compile the C load client; keep the program until its sources change."""

import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure.processes import BenchmarkError
from benchmarks.measure.programs import need_program

CLIENT = Path(__file__).resolve().parent / "client"
COMPILE_SECONDS = 60


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
