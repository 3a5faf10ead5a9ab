"""A child process under load whose memory and descriptors are watched."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading

from ... import kit_seccomp

CHILD = pathlib.Path(__file__).with_name("child.py")
# A container's filter: it outlives the exec that starts the child.
FORBID_AND_RUN = f"""{kit_seccomp.source()}
import errno, os, sys
forbid_io_uring(errno.EPERM)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
SAMPLE_SECONDS = 0.5
# What a process needs it has after this share of its time.
WARM = 0.4
END_SECONDS = 30
# More than this after it was warm is a leak: caches and the heap's arenas still settle.
GROWTH_MAX = 0.10
GROWTH_MAX_KIB = 8192
FDS_GROWTH_MAX = 5


class Failed(Exception):
    """An error or a leak was seen."""


class Child:
    """A server (no port given) or a client of the one at that port."""

    def __init__(self, python, loop, name, port=0, seconds=0):
        self.name = name
        self.loop = loop
        self.samples = []
        self.ended = threading.Event()
        self.errors = tempfile.TemporaryFile("w+")
        kind = "asyncio" if loop == "asyncio" else "uring_loop"
        command = [str(python), str(CHILD), name, str(port), str(seconds), kind]
        self.process = subprocess.Popen(
            filtered(command) if loop == "seccomp" else command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env=environment(loop))
        expected = "epoll" if loop == "seccomp" else loop
        if (got := self.told("backend")) != expected:
            raise Failed(f"asked for {expected}, got {got}")
        self.port = port or self.told("port")
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.ended.set()
        self.watcher.join()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()

    def told(self, key):
        """The next line that the child prints."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(END_SECONDS)
            raise Failed(f"{self.name} ended: {self.trouble()}")
        return json.loads(line)[key]

    def work(self):
        return self.told("done")

    def trouble(self):
        self.errors.seek(0)
        return self.errors.read()[-2000:]

    def watch(self):
        """Sample memory and descriptors until the load is over."""
        while not self.ended.wait(SAMPLE_SECONDS):
            folder = f"/proc/{self.process.pid}"
            try:
                descriptors = len(os.listdir(f"{folder}/fd"))
                with open(f"{folder}/status") as file:
                    facts = dict(line.split(":", 1) for line in file)
                kib = int(facts["VmRSS"].split()[0])
            except (OSError, KeyError):
                return  # it has ended
            self.samples.append((kib, descriptors))

    def finish(self):
        """End the child in an orderly way; returns what its samples say."""
        self.ended.set()
        self.watcher.join()
        self.process.stdin.close()
        status = self.process.wait(END_SECONDS)
        told = self.trouble()
        if self.loop == "seccomp":
            # A refused ring is a warning of each process.
            told = re.sub(r"(?m)^io_uring cannot be used, falling back .*\n+", "", told)
        if status or told:
            raise Failed(f"{self.name}: exit status {status}: {told}")
        return self.growth()

    def growth(self):
        """What the last samples have more than those taken when it was warm."""
        warm = self.samples[int(len(self.samples) * WARM) :]
        if len(warm) < 2:
            raise Failed("too few samples: give it more seconds")
        halves = warm[: len(warm) // 2], warm[len(warm) // 2 :]
        before, after = (max(kib for kib, _ in half) for half in halves)
        # Connections come and go, so one sample says little; a leak moves the middle.
        fds_before, fds_after = (
            statistics.median_low(fds for _, fds in half) for half in halves)
        told = f"{before} -> {after} KiB, {fds_before} -> {fds_after} descriptors"
        if after - before > max(before * GROWTH_MAX, GROWTH_MAX_KIB):
            raise Failed(f"memory grows: {told}")
        if fds_after - fds_before > max(fds_before * GROWTH_MAX, FDS_GROWTH_MAX):
            raise Failed(f"descriptors are left open: {told}")
        return told


def environment(loop):
    """The environment that chooses the loop; a filter makes the choice itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    if loop in ("io_uring", "epoll"):
        kept["URING_LOOP_BACKEND"] = loop
    return kept


def filtered(command):
    """The command of a Python program whose io_uring system calls are refused."""
    return [command[0], "-c", FORBID_AND_RUN, *command[1:]]
