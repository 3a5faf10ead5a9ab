"""Servers of other projects that a micro body talks to: Redis and PostgreSQL."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

from benchmarks.measure import programs
from benchmarks.measure.processes import BenchmarkError, pin_and_tie

START_SECONDS = 10.0
INIT_SECONDS = 60
# PostgreSQL does not run as root; Debian's package makes this user for it.
POSTGRES_USER = "postgres"


def start(kind, cores, stack):
    """Start what bodies of this kind talk to; returns its port and process ID, or None
    if they talk to nobody. The stack ends it."""
    for prefix, start_one in STARTERS.items():
        if kind.startswith(prefix):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            process = start_one(port, cores, stack)
            _wait_until_it_listens(port, process)
            return port, process.pid
    return None


def _redis(port, cores, stack):
    command = [programs.need_program("redis-server"), "--port", str(port), "--bind",
               "127.0.0.1", "--save", "", "--appendonly", "no"]
    return _run(command, cores, stack, cwd="/")


def _postgres(port, cores, stack):
    folder = stack.enter_context(
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    options = {"cwd": "/"}
    if os.geteuid() == 0:
        shutil.chown(folder, POSTGRES_USER)
        options["user"] = POSTGRES_USER
    subprocess.run(
        [programs.need_program("initdb"), "-D", f"{folder}/data", "-A", "trust",
         "--username=postgres", "--no-sync"],
        check=True, capture_output=True, timeout=INIT_SECONDS, **options)
    command = [programs.need_program("postgres"), "-D", f"{folder}/data", "-p",
               str(port), "-h", "127.0.0.1", "-c", "unix_socket_directories=",
               "-c", "fsync=off"]
    return _run(command, cores, stack, **options)


def _run(command, cores, stack, **options):
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=pin_and_tie(cores), **options)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _wait_until_it_listens(port, process):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise BenchmarkError(f"{os.path.basename(process.args[0])} did not start")


STARTERS = {"redis": _redis, "asyncpg": _postgres}
