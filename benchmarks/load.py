"""Scenarios loaded by the C client: requests, and memory per connection."""

import base64
import dataclasses

from benchmarks import measure, tools
from benchmarks.bench import Bench, Sample
from benchmarks.process import BenchmarkError, Child, stopping

# Connections made before memory is looked at, so that what a server allocates
# once is not divided among the others.
WARM_CONNECTIONS = 200
MEMORY_ROUNDS = 3
EXCHANGE_SECONDS = 0.001


class LoadBench(Bench):
    """Servers loaded by one C client, which keeps its connections to all of them."""

    def order(self):
        secure = self.scenario.protocol == "tls"
        return {"task": "serve", "kind": self.scenario.kind,
                "path": self.scratch.file("socket"),
                "certificate": tools.certificate(self.scratch) if secure else ""}

    def start(self, names):
        if self.scenario.threads:
            self.server_cores = self.server_cores | self.client_cores
        program = tools.load_client(tls=self.scenario.protocol == "tls")
        client = Child([str(program)], self.client_cores, self.scratch)
        self.client = self.stack.enter_context(stopping(client))
        self.numbers = {name: number for number, name in enumerate(names)}
        self.answers = {}
        return super().start(names)

    def ready(self, name, answer):
        self.answers[name] = answer
        self.open(self.numbers[name], answer, self.scenario.connections)

    def open(self, number, answer, connections):
        """Connect the client to a server, as its target `number`."""
        scenario = self.scenario
        protocol, payload, preface = scenario.protocol, "-", "-"
        if protocol == "websocket":
            protocol = "tcp"
            payload, preface = _websocket_files(self.scratch, scenario.send_bytes)
        self.client.ask(
            f"open {number} {protocol} {answer['host']} {answer['port']} "
            f"{connections} {scenario.send_bytes} {scenario.reply_bytes} "
            f"{scenario.depth} {payload} {preface}")

    def watched(self, name):
        return [self.pid(name), self.client.pid]

    def slice(self, name, seconds):
        line = f"slice {self.numbers[name]} {seconds * 1000:.0f} 0"
        return self.timed(name, lambda: self.client.ask(line))

    def warm_up(self, name, seconds):
        """Also compares what comes back: an echo must be what was sent."""
        scenario = self.scenario
        echoes = (scenario.send_bytes == scenario.reply_bytes
                  and scenario.protocol != "websocket")
        answer = self.client.ask(
            f"slice {self.numbers[name]} {seconds * 1000:.0f} {echoes:d}")
        if answer["mismatches"]:
            raise BenchmarkError("answers differ from what was sent")


class MemoryBench(Bench):
    """How much a fresh server grows per connection that was used once."""

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
        """A slice starts its own server, so there is nothing to warm."""

    def slice(self, name, seconds):
        warm = dataclasses.replace(self.scenario, connections=WARM_CONNECTIONS)
        count = self.scenario.connections
        with LoadBench(warm, self.scratch, self.server_cores,
                       self.client_cores) as bench:
            errors = bench.start([name])
            if errors:
                raise BenchmarkError(errors[name])
            self.facts[name] = bench.facts[name]
            bench.slice(name, EXCHANGE_SECONDS)
            before_kib = measure.anonymous_kib(bench.pid(name))
            bench.open(1, bench.answers[name], count)
            bench.client.ask(f"slice 1 {EXCHANGE_SECONDS * 1000:.0f} 0")
            grown_kib = measure.anonymous_kib(bench.pid(name)) - before_kib
        return Sample(value=grown_kib / count)


def _websocket_files(scratch, size):
    """One binary frame (its mask is zero, so the payload is plain), a handshake."""
    payload, preface = scratch.file("frame"), scratch.file("handshake")
    with open(payload, "wb") as file:
        file.write(b"\x82\xfe" + size.to_bytes(2, "big") + bytes(4) + b"x" * size)
    key = base64.b64encode(bytes(range(16))).decode()
    with open(preface, "w", newline="\r\n") as file:
        file.write(f"GET / HTTP/1.1\nHost: localhost\nUpgrade: websocket\n"
                   f"Connection: Upgrade\nSec-WebSocket-Key: {key}\n"
                   f"Sec-WebSocket-Version: 13\n\n")
    return payload, preface
