"""The comparison runs every body on every loop that is there, and says what is not."""

import asyncio
import json

import pytest

from uring_loop.cli import bench
from uring_loop.cli.bodies import BODIES

from ..parity import loops
from . import kit

BENCH = "from uring_loop.cli import bench; sys.exit(bench.main({arguments}))"
SHORT = ["--seconds", "0.2"]


def run(world, *arguments):
    return kit.run(BENCH.format(arguments=[*SHORT, *arguments]), kit.WORLDS[world],
                   COLUMNS="200")


def test_it_compares_what_is_there():
    status, out, err = run("as it is", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    rates = report["operations_per_second"]
    assert list(rates) == list(BODIES)
    for found in rates.values():
        assert {"asyncio", "epoll"} <= set(found)
        assert ("io_uring" in found) != ("io_uring" in report["missing"])
        assert all(len(each) == bench.ROUNDS and min(each) > 0
                   for each in found.values())


@pytest.mark.parametrize("world", ["as it is", "no rich"])
def test_its_table(world):
    status, out, err = run(world)
    assert (status, err) == (0, "")
    for words in (*BODIES, "asyncio", "epoll", "median"):
        assert words in out
    # Before the wait.
    assert out.startswith("Measures asyncio, ")


def test_what_is_missing_is_named():
    status, out, err = kit.run(
        "sys.modules['uvloop'] = None\n" + BENCH.format(arguments=SHORT),
        kit.WORLDS["EPERM"])
    assert (status, err) == (0, "")
    assert "uvloop is missing: not installed (pip install uvloop)" in out
    assert "io_uring is missing: EPERM: a seccomp filter" in out


@pytest.mark.parametrize("name", ["stock", *loops.OURS])
@pytest.mark.parametrize("body", BODIES)
def test_a_body_leaves_nothing_behind(name, body, no_leaks):
    loop = loops.new(name)
    problems = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(bench.rate(BODIES[body], 0)) > 0
    assert problems == []
