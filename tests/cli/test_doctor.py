"""The doctor tells the truth, in the worlds that users meet."""

import json
import os
import subprocess
import sys

import pytest

from ..parity import loops
from . import kit, page

DOCTOR = "from uring_loop.cli import doctor; sys.exit(doctor.main({arguments}))"
STEPS = ["TCP echo", "UDP echo", "TLS echo", "file", "timer", "thread"]


def doctor(world, *arguments, **environment):
    return kit.run(
        DOCTOR.format(arguments=list(arguments)), kit.WORLDS.get(world, world),
        **environment)


def examined(world, status, **environment):
    """The report as JSON from a doctor that must end so."""
    ended, out, err = doctor(world, "--json", **environment)
    assert (ended, err) == (status, ""), out
    report = json.loads(out)
    assert report["status"] == status
    return report


def works(outcome):
    steps = outcome["steps"]
    assert list(steps) == STEPS
    assert [name for name, step in steps.items() if "error" in step] == []
    return True


def test_where_all_is_well():
    loops.skip_where_io_uring_is_refused()
    report = examined("as it is", 0)
    assert report["driver"]["chosen"] == "io_uring"
    assert "R_DISABLED" in report["driver"]["flags"]
    assert report["driver"]["sq_entries"] == 256
    assert works(report["self_test"]["io_uring"])
    assert works(report["self_test"]["epoll"])
    assert report["problems"] == report["advice"] == []
    assert report["cpus"]["usable"] == len(os.sched_getaffinity(0))
    assert report["versions"]["python"] == sys.version.split()[0]
    assert report["kernel"]["release"] == os.uname().release


@pytest.mark.parametrize("world, said", [
    ("EPERM", "seccomp"), ("ENOSYS", "ENOSYS"), ("sysctl 2", "io_uring_disabled=2")])
def test_where_io_uring_is_forbidden(tmp_path, world, said):
    report = examined(world, 1, WORLD=str(tmp_path))
    assert report["driver"]["chosen"] == "epoll"
    assert said in report["driver"]["reason"]
    assert said in report["advice"][0]
    assert said in report["self_test"]["io_uring"]["refused"]
    assert works(report["self_test"]["epoll"])
    assert report["process"]["seccomp"] == "filter"
    if world == "sysctl 2":
        assert report["kernel"]["io_uring_disabled"] == 2


def test_whoever_names_epoll_is_well_with_it():
    report = examined("EPERM", 0, URING_LOOP_BACKEND="epoll")
    assert report["driver"]["reason"] == "asked for"


def test_whoever_demands_what_is_refused_has_a_problem():
    report = examined("EPERM", 2, URING_LOOP_BACKEND="io_uring")
    assert "seccomp" in report["problems"][0]
    assert works(report["self_test"]["epoll"])


def test_a_wrong_name_of_a_driver_is_a_problem():
    report = examined("as it is", 2, URING_LOOP_BACKEND="bogus")
    assert "bogus" in report["problems"][0]


def test_where_io_uring_kills_the_doctor_survives():
    report = examined("killed", 2)
    assert "SIGSYS" in report["problems"][0]
    assert "URING_LOOP_BACKEND=epoll" in report["problems"][0]
    report = examined("killed", 0, URING_LOOP_BACKEND="epoll")
    assert works(report["self_test"]["epoll"])


@kit.needs_root
def test_how_many_loops_fit_into_little_locked_memory():
    loops.skip_where_io_uring_is_refused()
    status, out, err = kit.run("""
import json, time, uring_loop

def count_fitting():
    made = []
    while len(made) < 20:
        made.append(uring_loop.Loop())
        if made[-1].backend == "epoll":
            break
    for loop in made:
        loop.close()
    return len(made) - 1

report = doctor.examine()
expected = report["memlock"]["loops"]
expected = 19 if expected is None else expected
deadline = time.monotonic() + 60
# The kernel gives the memory of a closed ring back some milliseconds later.
while (fitting := count_fitting()) < expected and time.monotonic() < deadline:
    time.sleep(0.02)
print(json.dumps([report, fitting]))
""", kit.somebody(64 << 10))
    assert (status, err) == (0, "")
    report, fitting = json.loads(out)
    assert report["driver"]["chosen"] == "io_uring"
    assert report["memlock"]["limit"] == 64 << 10
    if report["memlock"]["counts"]:
        assert report["memlock"]["loops"] == fitting
        assert (report["status"], "RLIMIT_MEMLOCK" in report["advice"][0]) == (1, True)
    else:
        # Kernels that do not count a ring's memory have room for any number.
        assert (report["memlock"]["loops"], fitting, report["status"]) == (None, 19, 0)


@kit.needs_root
def test_no_locked_memory_at_all():
    loops.skip_where_io_uring_is_refused()
    ended, out, _ = doctor(kit.somebody(0), "--json")
    report = json.loads(out)
    if not report["memlock"]["counts"]:
        pytest.skip("this kernel does not count a ring's memory")
    assert (ended, report["driver"]["chosen"]) == (1, "epoll")
    assert report["memlock"]["loops"] == 0
    assert "RLIMIT_MEMLOCK" in report["advice"][0]


def test_one_cpu():
    report = examined("one CPU", 1 if loops.io_uring_refusal() else 0)
    assert report["cpus"]["usable"] == 1
    assert works(report["self_test"]["epoll"])


@kit.needs_root
@pytest.mark.parametrize("heading", page.SITUATIONS)
def test_its_page_shows_what_it_prints(tmp_path, heading):
    """Made by `python -m tests.cli.page`."""
    loops.skip_where_io_uring_is_refused()
    if "MEMLOCK" in heading and not memlock_counts():
        pytest.skip("this kernel does not count a ring's memory")
    printed, shown = page.output(heading, tmp_path), page.shown()[heading]
    assert page.essence(heading, printed) == page.essence(heading, shown)


def memlock_counts():
    report = json.loads(doctor(kit.somebody(64 << 10), "--json")[1])
    return report["memlock"]["counts"]


def test_its_page_shows_these_situations():
    assert list(page.shown()) == list(page.SITUATIONS)


@pytest.mark.parametrize("value, restricted, shown", [
    ("0", False, "no"), ("1", True, "yes: to what sockets need"),
    ("files", "files", "yes: to what sockets and files need")])
def test_a_restricted_ring_is_reported(value, restricted, shown):
    loops.skip_where_io_uring_is_refused()
    report = examined("as it is", 0, URING_LOOP_RESTRICT=value)
    assert report["driver"]["restrict"] == report["driver"]["restricted"] == restricted
    assert works(report["self_test"]["io_uring"])
    _, out, _ = doctor("no rich", URING_LOOP_RESTRICT=value)
    assert f"restricted       {shown}\n" in out


def test_on_epoll_nothing_is_restricted():
    report = examined("as it is", 0, URING_LOOP_RESTRICT="1",
                      URING_LOOP_BACKEND="epoll")
    assert report["driver"]["restrict"] is True
    assert report["driver"]["restricted"] is False
    _, out, _ = doctor("no rich", URING_LOOP_RESTRICT="1", URING_LOOP_BACKEND="epoll")
    assert "no: epoll has no ring to restrict" in out


@pytest.mark.parametrize("name", [
    "URING_LOOP_RESTRICT", "URING_LOOP_GATHER_WRITES", "URING_LOOP_TLS"])
def test_a_wrong_value_of_a_variable_is_a_problem(name):
    report = examined("as it is", 2, **{name: "bogus"})
    problem, = report["problems"]
    assert name in problem and "bogus" in problem


def test_a_step_that_fails_is_named():
    world = """
async def broken():
    raise OSError(5, "of no use")
from uring_loop.cli import selftest
selftest.STEPS["file"] = broken
"""
    report = examined(world, 2, URING_LOOP_BACKEND="epoll")
    assert "file on epoll failed: OSError: [Errno 5] of no use" in report["problems"]
    status, out, _ = doctor(world, URING_LOOP_BACKEND="epoll")
    assert status == 2 and "FAILED" in out and "of no use" in out


def test_a_step_that_hangs_ends():
    report = examined("""
import asyncio
async def hanging():
    await asyncio.Event().wait()
from uring_loop.cli import selftest
selftest.STEP_SECONDS = 0.05
selftest.STEPS["timer"] = hanging
""", 2, URING_LOOP_BACKEND="epoll")
    assert "timer on epoll failed: TimeoutError" in report["problems"]


@pytest.mark.parametrize("world", ["as it is", "no rich"])
def test_its_tables_say_the_same_with_rich_and_without(world):
    status, out, err = doctor(world, URING_LOOP_BACKEND="epoll", COLUMNS="200")
    assert (status, err) == (0, "")
    for words in (*STEPS, "asked for", "RLIMIT_MEMLOCK", "seccomp", "CPUs", "OpenSSL",
                  "all is well (exit status 0)"):
        assert words in out
    # Nobody looks at a pipe in colours.
    assert "\x1b" not in out


def test_it_is_the_default_command():
    ended = subprocess.run(
        [sys.executable, "-m", "uring_loop", "--json"], text=True, capture_output=True,
        env=os.environ | {"URING_LOOP_BACKEND": "epoll"}, timeout=kit.SECONDS)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["driver"]["chosen"] == "epoll"


@pytest.mark.parametrize("arguments, status", [(["--help"], 0), (["bogus"], 2)])
def test_usage(arguments, status):
    ended = subprocess.run(
        [sys.executable, "-m", "uring_loop", *arguments], text=True,
        capture_output=True, timeout=kit.SECONDS)
    assert ended.returncode == status
    assert "doctor" in ended.stdout and "exit status" not in ended.stderr


def test_importing_uring_loop_imports_no_command():
    ended = subprocess.run(
        [sys.executable, "-c", "import sys, uring_loop\n"
         "print([name for name in sys.modules if 'uring_loop.cli' in name])"],
        text=True, capture_output=True, timeout=kit.SECONDS)
    assert ended.stdout == "[]\n"
