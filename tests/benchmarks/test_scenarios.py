"""Rows of the table measure what their titles say, with what is alive beside them."""

import asyncio
import concurrent.futures
import contextlib
import os
import select
import socket
import subprocess
import sys

import pytest

from benchmarks.compare import arguments, comparison
from benchmarks.load import idle
from benchmarks.load.wrk import HttpRunner
from benchmarks.measure import counters, programs
from benchmarks.measure.processes import BenchmarkError
from benchmarks.pages import rows
from benchmarks.scenarios import catalogue, loops, micro

NAMES = [scenario.name for scenario in catalogue.CATALOGUE]
IDLE = 3
PATIENCE_SECONDS = 10.0
SLEEPS = 50
SLEEPER = f"""
import sys, time
print(flush=True)
sys.stdin.readline()
for _ in range({SLEEPS}):
    time.sleep(0.01)
print(flush=True)
sys.stdin.readline()
"""


def names_of(*words):
    return [scenario.name for scenario in arguments.parse(words).selected]


def test_no_two_rows_have_one_name():
    assert len(NAMES) == len(set(NAMES))


def test_only_takes_the_row_of_that_name_and_not_those_of_its_kind():
    assert names_of("--only", "uvicorn") == ["uvicorn"]


def test_only_takes_patterns_kinds_and_groups():
    timers = ["timer-churn", "timer-churn-1000", "timer-churn-100000"]
    assert names_of("--only", "timer-*") == timers
    assert names_of("--only", "timer_churn") == timers
    assert set(names_of("--only", "Applications")) >= {"uvicorn", "redis"}
    # The name that this option had before.
    assert names_of("--scenario", "timer-*") == timers


def test_only_with_a_pattern_of_no_row_is_an_error(capsys):
    with pytest.raises(SystemExit):
        names_of("--only", "no-such-row")
    assert "no scenario matches 'no-such-row'" in capsys.readouterr().err


def test_quick_has_fewer_rows_and_fewer_and_shorter_slices():
    plain, quick = arguments.parse([]), arguments.parse(["--quick"])
    assert len(quick.selected) < len(plain.selected) / 2
    assert quick.rounds < plain.rounds and quick.slice_ms < plain.slice_ms
    assert arguments.parse(["--quick", "--rounds", "20"]).rounds == 20


def test_a_plain_run_measures_the_epoll_driver_in_every_row():
    parsed = arguments.parse([])
    assert loops.EPOLL in parsed.names and loops.EPOLL not in parsed.extra


@pytest.mark.parametrize("live", [0, 1000])
def test_churned_timers_have_so_many_live_ones_beside_them(live):
    loop = asyncio.new_event_loop()
    try:
        with micro.opened("timer_churn", loop, [live]) as batch:
            assert loop.run_until_complete(batch(rounds=1, count=3)) == 3
            alive = [timer for timer in loop._scheduled if not timer.cancelled()]
            assert len(alive) == live
        assert all(timer.cancelled() for timer in loop._scheduled)
    finally:
        loop.close()


def test_each_sleep_of_a_client_is_a_wake_up():
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        before = counters.wakeups(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        counted = counters.wakeups(process.pid) - before
        process.stdin.close()
    # One is the wait for the line; pages that are read from disk may add some. Sleeps
    # are long: one that is over before the process has left the processor is no wait.
    assert SLEEPS <= counted <= SLEEPS + 10


def test_wake_ups_of_the_client_stand_beside_the_system_calls():
    samples = [{"value": 1.0, "cpu_us": 1.0, "p50_us": None, "wakeups": 0.25,
                "disturbed": 0.0}]
    record = {"higher_is_better": True, "unit": "", "baseline": "uvloop", "loops": {
        "uvloop": {"samples": samples, "calls": {"per_request": 3.0}}}}
    cells = dict(zip(rows.HEADINGS, rows.cells(record, "uvloop"), strict=True))
    assert (cells["calls"], cells["wake-ups"]) == ("3.00", "0.25")


# ---- idle connections ---------------------------------------------------------------


@pytest.fixture
def served():
    """Serve idle connections in a thread; answers (address, future of what it read)."""
    with (socket.create_server(("127.0.0.1", 0)) as listener,
          concurrent.futures.ThreadPoolExecutor() as executor):
        listener.settimeout(PATIENCE_SECONDS)
        yield lambda parts: (listener.getsockname(),
                             executor.submit(serve, listener, parts))


def serve(listener, parts):
    """Answer each connection in pieces, or hang up; answers what was read, and ends."""
    with contextlib.ExitStack() as stack:
        accepted = [stack.enter_context(listener.accept()[0]) for _ in range(IDLE)]
        asked = [connection.recv(4096) for connection in accepted]
        if parts is None:
            return asked, None
        for connection in accepted:
            for part in parts:
                connection.sendall(part)
        return asked, [connection.recv(4096) for connection in accepted]


def test_idle_connections_have_had_one_answer_and_end_together(served):
    address, read = served(
        [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 2\r\n\r\n", b"hi"])
    with idle.connections(address, IDLE) as connections:
        assert len(connections) == IDLE
        assert not read.done()
        # Every byte of the answers has been read.
        assert select.select(connections, [], [], 0)[0] == []
    assert read.result(PATIENCE_SECONDS) == ([idle.REQUEST] * IDLE, [b""] * IDLE)


def test_an_idle_connection_without_an_answer_is_an_error(served):
    address, _ = served(None)
    with pytest.raises(BenchmarkError, match="closed before its answer"):
        with idle.connections(address, IDLE):
            pass


def test_idle_connections_are_alive_in_each_slice(tmp_path, monkeypatch):
    alive, seen = [], []

    @contextlib.contextmanager
    def connections(address, count):
        alive.append((address, count))
        yield
        alive.pop()

    def run(self, port):
        seen.append(list(alive))
        return {"requests": 1, "seconds": 1.0}

    monkeypatch.setattr(idle, "connections", connections)
    monkeypatch.setattr(HttpRunner, "_run", run)
    monkeypatch.setattr(HttpRunner, "order", lambda self: {
        "task": "serve", "kind": "protocol", "path": "", "certificate": ""})
    monkeypatch.setattr(programs, "need_program", lambda name: name)
    cores = os.sched_getaffinity(0)
    settings = comparison.Settings(
        loops=["asyncio"], extra_loops=[], missing={}, baseline="asyncio", rounds=1,
        slice_seconds=0.01, server_cores=cores, client_cores=cores, count_calls=False)
    scenario, = catalogue.select(["uvicorn-idle"], full=False, quick=False)
    with comparison.Comparison(settings, {}, lambda text: None) as measuring:
        measuring.run(scenario)
    # The warm-up and one round.
    assert [[count for _, count in held] for held in seen] == [[1000], [1000]]


def test_a_busy_neighbour_computes_on_each_core_with_the_least_priority():
    from benchmarks.load import neighbours

    def children():
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return set(file.read().split())

    cores = os.sched_getaffinity(0)
    before = children()
    with neighbours.computing(cores):
        found = [int(pid) for pid in children() - before]
        assert sorted(map(os.sched_getaffinity, found), key=min) == [
            {core} for core in sorted(cores)]
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in found} == {19}
    assert children() == before


def test_beside_a_busy_neighbour_no_round_is_left_out():
    from benchmarks.judge import stats

    samples = [{"disturbed": share} for share in (0.0, 0.4, 0.9)]
    record = {"loops": {"uvloop": {"samples": samples}}}
    assert stats.counted_rounds(record) == ([0, 1, 2], False)
    quiet = {"loops": {"uvloop": {"samples": samples * 2}}}
    assert len(stats.counted_rounds(quiet)[0]) == 3
    assert stats.counted_rounds({**quiet, "busy": True}) == (list(range(6)), True)
