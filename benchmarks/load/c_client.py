"""Runners that use the C load client: requests, fairness, memory per connection."""

import base64
import dataclasses
import os
import resource
import time

from benchmarks.load import build
from benchmarks.load.runner import Runner, Sample
from benchmarks.measure import counters, programs
from benchmarks.measure.processes import BenchmarkError, Child, stopping

# Connections made before memory is read, so that one-time allocations of the server
# do not count.
WARM_CONNECTIONS = 200
MEMORY_ROUNDS = 3
EXCHANGE_SECONDS = 0.001
# Descriptors that a client needs beside its connections.
CLIENT_FILES = 64
# Targets of the loops count up from 0, second targets count down from this number.
BESIDE = 15
# Address of the second listener in scenarios/servers.py; the port is the same.
BESIDE_HOST = "127.0.0.2"
# Size of one request of the greedy connection.
BULK_BYTES = 1 << 20


class LoadRunner(Runner):
    """Loads servers with the C client, which stays connected to all of them."""

    def order(self):
        return {"task": "serve", "kind": self.scenario.kind,
                "path": self.scratch.file("socket"),
                "certificate": programs.certificate(self.scratch)
                if self.scenario.secure else ""}

    def start(self, names):
        self.own_cores = self.server_cores
        if self.scenario.threads:
            self.server_cores = self.server_cores | self.client_cores
        self.numbers = {name: number for number, name in enumerate(names)}
        self.answers = {}
        self.clients = {}
        shared = None
        for name in names:
            if shared is None or files_needed(
                    self.scenario, len(names)) > files_limit():
                shared = self._start_client()
            self.clients[name] = shared
        return super().start(names)

    def _start_client(self):
        program = build.load_client(tls=self.scenario.secure)
        client = Child([str(program)], self.client_cores, self.scratch)
        return self.stack.enter_context(stopping(client))

    def ready(self, name, answer):
        self.answers[name] = answer
        number = self.numbers[name]
        self.open(name, number, answer, self.scenario.connections)
        if self.scenario.idle_connections:
            self.open(name, BESIDE - number, answer, self.scenario.idle_connections)

    def open(self, name, number, answer, connections):
        """Connect the client to a server, as its target `number`."""
        scenario = self.scenario
        protocol, payload, preface = scenario.protocol, "-", "-"
        if protocol == "websocket":
            protocol = "tcp"
            payload, preface = _websocket_files(self.scratch, scenario.send_bytes)
        self.clients[name].ask(
            f"open {number} {protocol} {answer['host']} {answer['port']} "
            f"{connections} {scenario.send_bytes} {scenario.reply_bytes} "
            f"{scenario.depth} {payload} {preface}")

    def watched(self, name):
        return [self.pid(name), self.clients[name].pid]

    def slice(self, name, seconds):
        return self.timed_client(
            name, f"slice {self.numbers[name]} {seconds * 1000:.0f} 0")

    def timed_client(self, name, line):
        """Sample of one client command, with CPU time and wake-ups of the client."""
        client = self.clients[name]
        start, used_ns = time.monotonic(), counters.cpu_ns(client.pid)
        wakeups = counters.wakeups(client.pid)
        sample = self.timed(name, lambda: client.ask(line))
        seconds = time.monotonic() - start
        sample.wakeups = (counters.wakeups(client.pid) - wakeups) / sample.requests
        sample.client_busy = (counters.cpu_ns(client.pid) - used_ns) / 1e9 / seconds
        return sample

    def warm_up(self, name, seconds):
        """Warm up; also check that each echo equals what was sent."""
        scenario = self.scenario
        echoes = (scenario.send_bytes == scenario.reply_bytes
                  and scenario.protocol != "websocket")
        answer = self.clients[name].ask(
            f"slice {self.numbers[name]} {seconds * 1000:.0f} {echoes:d}")
        if answer["mismatches"]:
            raise BenchmarkError(
                "answers differ from what was sent, or a session was not resumed")
        # A loop decides at the start of its run whether it may spin, and it started
        # with both cores. From here on it must stay off the core of the client.
        os.sched_setaffinity(self.pid(name), self.own_cores)


class FairnessRunner(LoadRunner):
    """Loads echo connections beside a greedy neighbour on the same loop."""

    def ready(self, name, answer):
        super().ready(name, answer)
        self.beside = {"fair_send": (1, BULK_BYTES),
                       "fair_receive": (BULK_BYTES, 1)}.get(self.scenario.kind)
        if self.beside:
            send_bytes, reply_bytes = self.beside
            self.clients[name].ask(
                f"open {BESIDE - self.numbers[name]} tcp {BESIDE_HOST} "
                f"{answer['port']} 1 {send_bytes} {reply_bytes} 4 - -")

    def slice(self, name, seconds):
        number = self.numbers[name]
        line = f"slice {number} {seconds * 1000:.0f} 0"
        if not self.beside:
            return self.timed_client(name, line)
        client = self.clients[name]
        # timed() does not use all fields of the answer, so keep it.
        answers = []
        sample = self.timed(name, lambda: answers.append(
            client.ask(f"{line} {BESIDE - number}")) or answers[0])
        moved = answers[0]["beside"] * BULK_BYTES / answers[0]["seconds"]
        sample.beside = moved / (1 << 20)
        return sample


class MemoryRunner(Runner):
    """Measures the memory that a fresh server needs per connection."""

    counts_calls = False

    def rounds(self, asked):
        return min(asked, MEMORY_ROUNDS)

    def start(self, names):
        errors = {}
        for name in names:
            try:
                self.slice(name, 0)
            except BenchmarkError as error:
                errors[name] = str(error)
        return errors

    def warm_up(self, name, seconds):
        """Nothing to do: each slice starts its own server."""

    def slice(self, name, seconds):
        warm = dataclasses.replace(self.scenario, connections=WARM_CONNECTIONS)
        count = self.scenario.connections
        with LoadRunner(warm, self.scratch, self.server_cores,
                       self.client_cores) as runner:
            errors = runner.start([name])
            if errors:
                raise BenchmarkError(errors[name])
            self.facts[name] = runner.facts[name]
            runner.slice(name, EXCHANGE_SECONDS)
            before_kib = counters.anonymous_kib(runner.pid(name))
            runner.open(name, 1, runner.answers[name], count)
            runner.clients[name].ask(f"slice 1 {EXCHANGE_SECONDS * 1000:.0f} 0")
            grown_kib = counters.anonymous_kib(runner.pid(name)) - before_kib
        return Sample(value=grown_kib / count)


def files_needed(scenario, loops_count):
    """Number of descriptors of a client that is connected to `loops_count` servers."""
    connections = scenario.connections + scenario.idle_connections
    return loops_count * connections + CLIENT_FILES


def files_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _websocket_files(scratch, size):
    """Paths of one binary frame, with a mask of zero, and of a handshake."""
    payload, preface = scratch.file("frame"), scratch.file("handshake")
    with open(payload, "wb") as file:
        file.write(b"\x82\xfe" + size.to_bytes(2, "big") + bytes(4) + b"x" * size)
    key = base64.b64encode(bytes(range(16))).decode()
    with open(preface, "w", newline="\r\n") as file:
        file.write(f"GET / HTTP/1.1\nHost: localhost\nUpgrade: websocket\n"
                   f"Connection: Upgrade\nSec-WebSocket-Key: {key}\n"
                   f"Sec-WebSocket-Version: 13\n\n")
    return payload, preface
