"""Starts the databases and brokers that a suite talks to, and ends them after it."""

import contextlib
import functools
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

START_SECONDS = 30
REDIS_PORT = 6379
POSTGRES_PROGRAMS = ("pg_ctl", "postgres", "pg_basebackup", "pg_resetwal")
DEBIAN = "/usr/lib/postgresql"
# PostgreSQL refuses to run as root, and asyncpg makes its data folder as whoever runs
# the suite: give that folder to PostgreSQL's user, then become this user. The folder
# is what follows -D: other arguments name folders, too, such as that of the sockets.
# The key of its TLS must belong to root or itself, and be readable.
AS_POSTGRES = """#!/bin/sh
for word; do
    [ "$before" = -D ] && [ -O "$word" ] && chown -R postgres "$word"
    case $word in ssl_key_file=*)
        chgrp postgres "${{word#*=}}" && chmod 640 "${{word#*=}}" ;;
    esac
    before=$word
done
exec setpriv --reuid=postgres --regid=postgres --clear-groups {program} "$@"
"""


class NoServer(Exception):
    """A program is missing; the text names the Debian package."""


@contextlib.contextmanager
def running(kind):
    """Yield ({word in the arguments: value}, {environment}) while the server runs."""
    starters = {"redis": redis, "postgres": postgres, "nats": nats, "": nothing}
    with starters[kind]() as found_there:
        yield found_there


@contextlib.contextmanager
def nothing():
    yield {}, {}


@contextlib.contextmanager
def redis():
    program = found("redis-server", "redis-server")
    # Some tests ask the usual port whatever they are told.
    port = free_port(REDIS_PORT)
    with tempfile.TemporaryDirectory() as folder:
        options = f"--port {port} --bind 127.0.0.1 --enable-debug-command yes"
        command = [program, *options.split(), "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            yield {"redis_port": str(port)}, {}
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def postgres():
    """asyncpg's suite starts its clusters itself: it only has to find PostgreSQL."""
    programs = sorted(pathlib.Path(DEBIAN).glob("*/bin"))
    if not programs:
        raise NoServer("apt-get install postgresql")
    if os.geteuid():
        yield {}, {"PGINSTALLATION": str(programs[-1])}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for program in POSTGRES_PROGRAMS:
            script = folder / program
            script.write_text(AS_POSTGRES.format(program=programs[-1] / program))
            script.chmod(0o755)
        config = folder / "pg_config"
        config.write_text(f"#!/bin/sh\necho BINDIR = {folder}\n")
        config.chmod(0o755)
        yield {}, {"PGINSTALLATION": str(folder)}


@contextlib.contextmanager
def postgres_cluster():
    """Yield the port of a PostgreSQL that trusts everybody."""
    with postgres() as (_, env), tempfile.TemporaryDirectory() as folder:
        program = os.path.join(env["PGINSTALLATION"], "pg_ctl")
        control = [program, "-s", "-D", os.path.join(folder, "data")]
        os.mkdir(control[-1])
        port = free_port()
        os.chmod(folder, 0o755)
        run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
        run([*control, "init", "-o", "--auth=trust --username=postgres"])
        options = f"-p {port} -h 127.0.0.1 -c unix_socket_directories=''"
        run([*control, "-w", "-l", os.devnull, "-o", options, "start"])
        try:
            yield port
        finally:
            run([*control, "-m", "fast", "stop"])


@contextlib.contextmanager
def nats():
    """The suite of nats-py starts its servers itself, as found on PATH."""
    program = found("nats-server", "nats-server")
    path = f"{os.path.dirname(program)}:{os.environ['PATH']}"
    yield {}, {"PATH": path}


def found(program, package):
    # Debian has servers in sbin, which is not on every user's PATH.
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise NoServer(f"apt-get install {package}")
    return path


def free_port(wanted=0):
    """The port wanted, if nobody has it, or any other."""
    try:
        with socket.create_server(("127.0.0.1", wanted)) as sock:
            return sock.getsockname()[1]
    except OSError:
        return free_port()


def wait_for(port, process):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise NoServer(f"{process.args[0]} does not listen: see its output")
