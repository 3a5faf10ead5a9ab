"""Measure one cell of the file benchmark: all contenders, and fio as the limit."""

import json
import os
import random
import subprocess

from benchmarks.files.contender import DIRECT, LEFT_OUT, PEERS
from benchmarks.measure.processes import module_command

CONTROL = "none again"
# fio runs for whole seconds.
FIO_SECONDS = 1
FIO_ROUNDS = 3


class Contender:
    """A process of files/contender.py, which runs a slice on demand."""

    def __init__(self, name, path, kind, depth, cache):
        given = "none" if name == CONTROL else name
        self.process = subprocess.Popen(
            module_command("benchmarks.files.contender", given, path, kind, str(depth),
                           cache),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.error = None
        if self.process.stdout.readline().strip() != "ready":
            self.error = self.error_output()

    def error_output(self):
        self.process.kill()
        _, text = self.process.communicate()
        return (text.strip().splitlines() or ["ended without a word"])[-1]

    def slice(self, seconds):
        """(operations per second, microseconds of processor per operation)"""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.error = self.error_output()
            return None
        done, passed, cpu = map(float, line.split())
        return done / passed, cpu / done * 1e6

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


def run_fio(path, kind, depth, cache):
    """(operations per second, microseconds of processor per operation) of real fio."""
    done = subprocess.run(
        ["fio", "--name=limit", f"--filename={path}", f"--rw=rand{kind}", "--bs=4k",
         f"--iodepth={depth}", "--ioengine=io_uring", "--norandommap",
         f"--direct={int(cache == 'direct')}", "--invalidate=0", "--time_based",
         f"--runtime={FIO_SECONDS}", f"--size={os.path.getsize(path)}",
         "--output-format=json"],
        capture_output=True, text=True, check=True)
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    found = job[kind]
    busy = (job["usr_cpu"] + job["sys_cpu"]) / 100 * found["runtime"] / 1e3
    return found["iops"], busy / max(found["total_ios"], 1) * 1e6


def names_of(cache, missing):
    peers = [name for name in PEERS if name not in missing
             and (cache == "buffered" or name in DIRECT)]
    return [*LEFT_OUT, CONTROL, *peers]


def measure(cell, path, arguments, say):
    """{name: [[rate, cpu], …] or the error} of one cell."""
    contenders = {name: Contender(name, path, *cell) 
                  for name in names_of(cell[2], arguments.missing)}
    samples = {name: [] for name in contenders}
    try:
        for number in range(arguments.rounds):
            order = [name for name in contenders if contenders[name].error is None]
            random.shuffle(order)
            for name in order:
                sample = contenders[name].slice(arguments.slice)
                if sample is not None:
                    samples[name].append(sample)
        samples["fio"] = [run_fio(path, *cell) for _ in range(FIO_ROUNDS)]
    finally:
        for contender in contenders.values():
            contender.close()
    say(" ".join(map(str, cell)))
    return {name: found if name == "fio" or contenders[name].error is None
            else contenders[name].error for name, found in samples.items()}
