"""The list of scenarios: one for each row of the tables, with its parameters."""

import fnmatch
from dataclasses import dataclass, field

from benchmarks.scenarios import loops

KIBIBYTE = 1024
CONNECTIONS = (1, 10, 64, 512, 1000)
SIZES = (64, KIBIBYTE, 16 * KIBIBYTE, 100 * KIBIBYTE)
# Cells (connections, bytes) of the echo matrix in a plain run. The other kinds of echo
# server differ from Protocol above the transport only, so one cell is enough.
CELLS = {"protocol": ((1, KIBIBYTE), (64, KIBIBYTE), (512, KIBIBYTE),
                      (64, 16 * KIBIBYTE), (64, 100 * KIBIBYTE), (1000, KIBIBYTE))}
OTHER_CELLS = ((64, KIBIBYTE),)
QUICK_CELLS = {"protocol": ((1, KIBIBYTE), (64, KIBIBYTE), (64, 16 * KIBIBYTE))}
# Numbers of connections for the curve of CPU time.
SCALE = (1, 10, 100, 1000, 10_000)
# Echo connections beside a greedy one.
FAIR_CONNECTIONS = 100
# Numbers of timers that stay live while others are made and cancelled.
LIVE_TIMERS = (1000, 100_000)
# HTTP connections that a server keeps alive beside those that send requests.
IDLE_HTTP_CONNECTIONS = 1000
# Numbers of connections whose latency is shown with gathered writes and without.
LATENCY = (1, 8, 64, 512)


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    group: str
    runner: str                 # a key of RUNNERS in compare/comparison.py
    kind: str                   # which server or which micro body
    unit: str = "requests/s"
    higher_is_better: bool = True
    protocol: str = "tcp"       # how the load client connects
    connections: int = 64
    send_bytes: int = KIBIBYTE
    reply_bytes: int = KIBIBYTE
    idle_connections: int = 0   # more of them, which send nothing
    depth: int = 1
    arguments: tuple = ()       # of the micro body
    threads: bool = False       # the server starts with both cores
    default: bool = True
    quick: bool = False
    chart: bool = False
    needs: tuple = field(default=())    # Python modules of the measured process
    # Loops with options that are measured in this scenario only.
    variants: tuple = ()

    @property
    def secure(self):
        """Does it need a certificate?"""
        return self.protocol.startswith("tls")


def select(patterns, full, quick):
    """Scenarios to run, in catalogue order; unknown patterns raise ValueError."""
    for pattern in patterns:
        if not any(_matches(scenario, pattern) for scenario in CATALOGUE):
            raise ValueError(f"no scenario matches {pattern!r}; see --list")
    if patterns:
        return [scenario for scenario in CATALOGUE
                if any(_matches(scenario, pattern) for pattern in patterns)]
    return [scenario for scenario in CATALOGUE
            if (scenario.quick if quick else scenario.default or full)]


def _matches(scenario, pattern):
    if any(pattern == other.name for other in CATALOGUE):
        # A name that is also a kind means the one scenario.
        return scenario.name == pattern
    return (fnmatch.fnmatch(scenario.name, pattern)
            or pattern in (scenario.group, scenario.kind))


def size_text(size):
    return f"{size} B" if size < KIBIBYTE else f"{size // KIBIBYTE} KiB"


def _size_name(size):
    return f"{size}" if size < KIBIBYTE else f"{size // KIBIBYTE}k"


def _connections_text(count):
    return f"{count:,} connection" + ("s" if count != 1 else "")


def _echo(kind, title, group="TCP echo", protocol="tcp", connections=64,
          size=KIBIBYTE, **options):
    prefix = {"TCP echo": "tcp-"}.get(group, "") + kind
    depth = options.get("depth", 1)
    return Scenario(
        name=f"{prefix}-{connections}-{_size_name(size)}"
             + (f"-deep{depth}" if depth > 1 else ""),
        title=f"{title}, {_connections_text(connections)}, {size_text(size)}"
              + (f", {depth} in flight each" if depth > 1 else ""),
        group=group, runner="load", kind=kind, protocol=protocol,
        connections=connections, send_bytes=size, reply_bytes=size, **options)


def _tcp_matrix(kind, title):
    cells = CELLS.get(kind, OTHER_CELLS)
    quick_cells = QUICK_CELLS.get(kind, OTHER_CELLS)
    for connections in CONNECTIONS:
        for size in SIZES:
            cell = (connections, size)
            yield _echo(kind, title, connections=connections, size=size,
                        default=cell in cells, chart=cell in cells,
                        quick=cell in quick_cells)


def _network():
    yield from _tcp_matrix("protocol", "TCP echo Protocol")
    yield _echo("protocol", "TCP echo Protocol", connections=16, size=100, depth=16,
                chart=True)
    yield from _tcp_matrix("buffered", "TCP echo BufferedProtocol")
    yield from _tcp_matrix("streams", "TCP echo streams")
    yield from _tcp_matrix("sock", "TCP echo sock_recv/sock_sendall")
    # A loop spins only if it may use more than one core, so the server starts with two.
    yield Scenario("ping-pong", "ping-pong, 1 connection, 1 KiB, polling off and on",
                   "Latency", "load", "protocol", connections=1, threads=True,
                   quick=True, variants=(loops.POLLING,))
    yield from _latency()
    yield from _fairness()
    yield from _scale()
    yield from _tls()
    other = "Other transports"
    yield _echo("unix", "Unix echo Protocol", other, "unix", chart=True)
    yield _echo("udp", "UDP echo", other, "udp", size=512, chart=True)
    yield from _bulk(other, chart=True)
    yield Scenario("churn", "connect + 64 B echo + close, 32 at a time", other,
                   "load", "protocol", unit="connections/s", protocol="churn",
                   connections=32, send_bytes=64, reply_bytes=64, quick=True,
                   chart=True)
    yield Scenario("memory", "memory per idle connection", other, "memory",
                   "protocol", unit="KiB", higher_is_better=False,
                   connections=4000, send_bytes=64, reply_bytes=64, quick=True,
                   chart=True)


def _bulk(group, prefix="", title="", **options):
    mebibyte = KIBIBYTE * KIBIBYTE
    yield Scenario(f"{prefix}bulk-send", f"{title}bulk send, 64 KiB writes", group,
                   "load", "source", unit="MiB/s", connections=1, send_bytes=1,
                   reply_bytes=mebibyte, depth=4, **options)
    yield Scenario(f"{prefix}bulk-receive", f"{title}bulk receive", group, "load",
                   "sink", unit="MiB/s", connections=1, send_bytes=mebibyte,
                   reply_bytes=1, depth=4, **options)


def _tls():
    options = {"group": "TLS", "protocol": "tls", "chart": True,
               "variants": (loops.STDLIB_TLS, loops.FASTNET)}
    yield _echo("tls", "TLS echo Protocol", quick=True, **options)
    yield _echo("tls", "TLS echo Protocol", connections=1, **options)
    yield _echo("tls", "TLS echo Protocol", size=16 * KIBIBYTE, **options)
    yield _echo("tls-streams", "TLS echo streams", **options)
    yield from _bulk(prefix="tls-", title="TLS ", **options)
    for kind, title in (("tls-churn", "full"), ("tls-resumed", "resumed")):
        yield Scenario(kind, f"TLS handshake ({title}) + 64 B echo + close, "
                       "32 at a time", runner="load", kind="tls", connections=32,
                       unit="connections/s", send_bytes=64, reply_bytes=64,
                       **{**options, "protocol": kind})


def _latency():
    for connections in LATENCY:
        yield Scenario(f"latency-{connections}",
                       f"{_connections_text(connections)}, 64 B, one request each",
                       "Latency", "load", "protocol", connections=connections,
                       send_bytes=64, reply_bytes=64, variants=(loops.UNGATHERED,))
    for connections in LATENCY[1:]:
        yield Scenario(f"first-{connections}",
                       f"{_connections_text(connections)} ask at once, 64 B: the first "
                       "answer", "Latency", "load", "protocol", protocol="batch",
                       connections=connections, send_bytes=64, reply_bytes=64,
                       variants=(loops.UNGATHERED,))
    yield Scenario("computing", "64 connections, each callback computes 200 µs",
                   "Latency", "load", "computing", send_bytes=64, reply_bytes=64,
                   variants=(loops.UNGATHERED,))


def _fairness():
    beside = (("fair_send", "a connection that is sent all it takes"),
              ("fair_receive", "a connection that sends all it can"),
              ("fair_slow", "a callback of 1 ms every 5 ms"))
    for kind, what in beside:
        yield Scenario(kind.replace("_", "-"),
                       f"{FAIR_CONNECTIONS} echo connections, 64 B, beside {what}",
                       "Fairness", "fair", kind, connections=FAIR_CONNECTIONS,
                       send_bytes=64, reply_bytes=64)


def _scale():
    for connections in SCALE:
        yield Scenario(f"scale-{connections}",
                       f"{_connections_text(connections)}, 64 B", "Scale", "load",
                       "protocol", connections=connections, send_bytes=64,
                       reply_bytes=64)
    yield Scenario("scale-idle", "100 connections, 64 B, beside 10,000 idle ones",
                   "Scale", "load", "protocol", connections=100,
                   idle_connections=SCALE[-1], send_bytes=64, reply_bytes=64)


def _applications():
    group = "Applications"
    yield Scenario("uvicorn", "uvicorn + httptools hello, wrk, 64 connections", group,
                   "http", "uvicorn", quick=True, chart=True,
                   needs=("uvicorn", "httptools"))
    yield Scenario("uvicorn-idle", "uvicorn + httptools hello, wrk, 64 connections, "
                   f"beside {IDLE_HTTP_CONNECTIONS:,} idle ones", group, "http",
                   "uvicorn", idle_connections=IDLE_HTTP_CONNECTIONS, chart=True,
                   needs=("uvicorn", "httptools"))
    yield Scenario("uvicorn-tls", "uvicorn + httptools hello over TLS, wrk, "
                   "64 connections", group, "http", "uvicorn", protocol="tls",
                   variants=(loops.STDLIB_TLS, loops.FASTNET),
                   chart=True, needs=("uvicorn", "httptools"))
    yield Scenario("fastapi", "FastAPI, JSON and a dependency, wrk, 64 connections",
                   group, "http", "fastapi", chart=True,
                   needs=("uvicorn", "httptools", "fastapi"))
    yield Scenario("aiohttp", "aiohttp server hello, wrk, 64 connections", group,
                   "http", "aiohttp", quick=True, chart=True, needs=("aiohttp",))
    yield Scenario("websockets", "websockets echo, 64 connections, 1 KiB", group,
                   "load", "websockets", protocol="websocket",
                   reply_bytes=KIBIBYTE + 4, chart=True, needs=("websockets",))
    yield Scenario("aiohttp-client", "aiohttp client and server in one process, "
                   "16 tasks", group, "micro", "aiohttp_client", chart=True,
                   needs=("aiohttp",))
    yield Scenario("aiohttp-client-tls", "aiohttp client and server in one process, "
                   "TLS, 16 tasks", group, "micro", "aiohttp_client_tls",
                   protocol="tls", variants=(loops.STDLIB_TLS, loops.FASTNET),
                   chart=True, needs=("aiohttp",))
    yield Scenario("broadcast", "websockets broadcast of 64 B to 500 clients in the "
                   "same process", group, "micro", "broadcast", unit="messages/s",
                   chart=True, needs=("websockets",))
    yield Scenario("redis", "redis-py, 50 tasks", group, "micro", "redis",
                   chart=True, needs=("redis",))
    yield Scenario("redis-pipeline", "redis-py, 50 tasks, pipelines of 10", group,
                   "micro", "redis_pipeline", chart=True, needs=("redis",))
    yield Scenario("asyncpg", "asyncpg, 20 connections, select 1", group, "micro",
                   "asyncpg", unit="queries/s", chart=True, needs=("asyncpg",))


def _micro(kind, title, unit="calls/s", **options):
    name = "-".join([*kind.split("_"), *map(str, options.get("arguments", ()))])
    return Scenario(name, title, "Scheduler", "micro", kind,
                    unit=unit, chart=True, **options)


def _scheduler():
    yield _micro("call_soon_chain", "call_soon chain (one per iteration)", quick=True)
    yield _micro("call_soon_burst", "call_soon burst (1,000 per iteration)")
    yield _micro("timer_churn", "call_later + cancel", quick=True)
    for count in LIVE_TIMERS:
        yield _micro("timer_churn", f"call_later + cancel, {count:,} live timers",
                     arguments=(count,), quick=count == LIVE_TIMERS[0])
    yield _micro("sleep_zero", "await sleep(0)", quick=True)
    yield _micro("task_gather", "create_task + gather of 100", "tasks/s", quick=True)
    # On one core: the GIL lets one of the two threads run at a time. With two cores the
    # result depends on the core on which the kernel wakes the other thread.
    yield _micro("threadsafe", "call_soon_threadsafe round trip", "round trips/s",
                 quick=True)
    yield _micro("executor", "run_in_executor round trip", "round trips/s")
    yield _micro("pipe_reader", "add_reader on a pipe")
    yield _micro("connect_close", "connect + close in one process", "connections/s")
    yield _micro("subprocess", "subprocess spawn + wait", "processes/s")
    yield _micro("short_sleep", "lateness of a 1 ms sleep", "µs late",
                 higher_is_better=False)
    yield Scenario("startup", "import + loop + close, fresh process", "Scheduler",
                   "startup", "startup", unit="ms", higher_is_better=False,
                   chart=True)


CATALOGUE = (*_network(), *_applications(), *_scheduler())
