"""Put programs under load: python -m tests.suites.load [name ...]."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import trustme

from .. import prepare, projects, report, servers
from .watched import Child, Failed

HTTP = ("uvicorn", "gunicorn", "hypercorn", "aiohttp")
NAMES = (*HTTP, "websockets", "redis", "asyncpg", "https")
PACKAGES = ("uvicorn", "httptools", "starlette", "gunicorn", "uvicorn-worker",
            "hypercorn", "aiohttp", "websockets", "redis", "asyncpg")
# seccomp: io_uring is refused as in a container, and nothing names a driver.
LOOPS = ("io_uring", "epoll", "seccomp", "asyncio")
WORK = prepare.ROOT / "build" / "suites"


def main():
    options = parse_arguments()
    project = projects.Project("load", "0", (), install=PACKAGES, sources_only=True)
    venv = options.work / "load"
    if not (venv / "bin" / "python").exists():
        prepare.make_venv(project, None, venv)
    bad = 0
    for name in options.names or NAMES:
        for loop in options.loops:
            try:
                told = run(name, loop, options.seconds, venv / "bin" / "python")
            except (Failed, servers.NoServer) as exc:
                told = f"FAILED: {exc}"
                bad += 1
            print(f"{name:11} {loop:9} {told}", flush=True)
            if options.store:
                store(name, loop, f"{options.seconds:.0f} s: {told}")
    if options.store:
        report.write()
    sys.exit(1 if bad else 0)


def store(name, loop, told):
    results = json.loads(report.LOAD.read_text("utf-8")) if report.LOAD.exists() else {}
    results.setdefault(name, {})[loop] = told
    report.LOAD.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m tests.suites.load", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--loops", nargs="+", default=LOOPS[:3], choices=LOOPS)
    parser.add_argument("--store", action="store_true", help="as in tests.suites")
    parser.add_argument("--work", type=pathlib.Path, default=WORK)
    return parser.parse_args()


def run(name, loop, seconds, python):
    """One program on one loop; returns what to tell, or raises Failed."""
    with contextlib.ExitStack() as stack:
        if name in HTTP:
            server = stack.enter_context(Child(python, loop, name))
            requests = wrk(server.port, seconds)
            return f"{requests} requests; {server.finish()}"
        told = ""
        if name == "websockets":
            server = stack.enter_context(Child(python, loop, name))
            port = server.port
        else:
            port = stack.enter_context(SERVERS[name]())
        client = stack.enter_context(Child(python, loop, name, port, seconds))
        told = f"{client.work()} done; client: {client.finish()}"
        if name == "websockets":
            told += f"; server: {server.finish()}"
        return told


def wrk(port, seconds):
    """Half of the time short answers, half long ones; every error is too many."""
    program = servers.found("wrk", "wrk")
    total = 0
    for path in ("/", "/long"):
        command = [program, "-t1", "-c64", f"-d{seconds / 2:.0f}s",
                   f"http://127.0.0.1:{port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if trouble := re.search(r"(Socket errors|Non-2xx).*", done.stdout):
            raise Failed(f"wrk {path}: {trouble.group()}")
        if not (found := re.search(r"(\d+) requests in", done.stdout)):
            raise Failed(f"wrk: {done.stdout}{done.stderr}")
        total += int(found[1])
    return total


@contextlib.contextmanager
def redis():
    with servers.redis() as (words, _):
        yield int(words["redis_port"])


@contextlib.contextmanager
def https():
    """openssl's own server: a TLS that is not Python's."""
    program = servers.found("openssl", "openssl")
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        pem = os.path.join(folder, "pem")
        certificate = trustme.CA().issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(pem)
        options = f"-quiet -www -accept 127.0.0.1:{port} -cert {pem} -key {pem}"
        process = subprocess.Popen(
            [program, "s_server", *options.split()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            servers.wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


SERVERS = {"redis": redis, "asyncpg": servers.postgres_cluster, "https": https}


if __name__ == "__main__":
    main()
