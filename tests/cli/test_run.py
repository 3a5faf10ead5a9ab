"""A program started by `run` is as Python starts it, with our loops in all of it."""

import json
import os
import subprocess
import sys

import pytest

from ..parity import loops
from ..world import servers
from . import kit

RUN = ["-m", "uring_loop", "run"]
drivers = pytest.mark.parametrize("driver", loops.OURS)

# What a program sees of itself; the same with and without `run`.
ABOUT = """
import json, sys
print(json.dumps([sys.argv, __name__, globals().get("__file__"), sys.path,
                  __spec__ and __spec__.name, sys.flags.dev_mode,
                  sys.modules["__main__"].__name__]))
"""

# The kind of every loop that asyncio makes, in the ways that programs make them.
LOOPS = """
import asyncio, sys

def kind(loop):
    loop.close()
    return getattr(loop, "backend", "stock")

async def running():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    return getattr(loop, "backend", "stock")

def kinds():
    found = {"run": asyncio.run(running()), "new": kind(asyncio.new_event_loop()),
             "class": kind(asyncio.SelectorEventLoop())}
    if hasattr(asyncio, "EventLoop"):
        found["EventLoop"] = kind(asyncio.EventLoop())
    with asyncio.Runner() as runner:
        found["Runner"] = runner.run(running())
    if sys.version_info < (3, 14):
        policy = asyncio.DefaultEventLoopPolicy()
        found["policy"] = kind(policy.new_event_loop())
        asyncio.set_event_loop_policy(policy)
        found["default again"] = asyncio.run(running())
    return found
"""


def python(*arguments, cwd="/", **environment):
    """As a user types it: without what the tests set to find the right package."""
    variables = os.environ | environment
    variables.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, *arguments], text=True, capture_output=True, cwd=cwd,
        env=variables, timeout=kit.SECONDS)


def needs(driver):
    if driver == "io_uring":
        loops.skip_where_io_uring_is_refused()


@pytest.fixture
def program(tmp_path):
    """A folder with a script, a module and a package, all the same program."""
    def write(source):
        (tmp_path / "package").mkdir()
        for name in ("program.py", "package/__main__.py"):
            (tmp_path / name).write_text(source)
        return tmp_path
    return write


WAYS = (["program.py"], ["-m", "program"], ["-m", "package"],
        ["-X", "dev", "program.py"])


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_program_sees_what_python_shows_it(program, way):
    folder = program(ABOUT)
    arguments = [*way, "-x", "--driver", "two words", ""]
    plain = python(*arguments, cwd=folder)
    ours = python(*RUN, "--driver", "epoll", *arguments, cwd=folder)
    assert plain.returncode == 0
    assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)


def test_options_of_python_before_our_name_are_kept(program):
    folder = program("import sys; print(sys.flags.dev_mode, sys.flags.optimize)")
    ended = python("-X", "dev", "-O", *RUN, "program.py", cwd=folder)
    assert ended.stdout == "True 1\n"


@drivers
@pytest.mark.parametrize("way", WAYS[:3], ids=" ".join)
def test_every_loop_is_ours(program, driver, way):
    needs(driver)
    folder = program(LOOPS + "print(set(kinds().values()))")
    ended = python(*RUN, "--driver", driver, *way, cwd=folder)
    assert ended.stderr == ""
    assert ended.stdout == f"{ {driver} }\n"


CHILDREN = LOOPS + """
import multiprocessing, os, subprocess

def child(queue):
    queue.put(asyncio.run(running()))

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
    source = "import asyncio; print(asyncio.new_event_loop().backend)"
    print(subprocess.check_output([sys.executable, "-c", source], text=True).strip())
"""


@drivers
def test_child_processes_have_our_loops(program, driver):
    needs(driver)
    folder = program(CHILDREN)
    ended = python("-W", "ignore", *RUN, "--driver", driver, "program.py", cwd=folder)
    assert ended.stdout.split() == [driver] * 4, ended.stderr


ENDINGS = {
    "status": "raise SystemExit(7)",
    "words": "raise SystemExit('no')",
    "exception": "def f():\n    1 / 0\nf()",
    "in a task": "import asyncio\nasync def main():\n    raise KeyError(1)\n"
                 "asyncio.run(main())",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "Ctrl-C": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "syntax": "def",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_as_it_would_without_us(program, ending):
    folder = program(ENDINGS[ending])
    plain = python("program.py", cwd=folder)
    ours = python(*RUN, "--driver", "epoll", "program.py", cwd=folder)
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
    assert plain.returncode != 0


@pytest.mark.parametrize("arguments, said", [
    (["nothing.py"], "nothing.py"), (["-m", "nothing_of_the_kind"], "nothing_of")])
def test_a_program_that_is_not_there(arguments, said):
    plain, ours = python(*arguments), python(*RUN, *arguments)
    assert ours.returncode == plain.returncode != 0
    assert ours.stderr == plain.stderr and said in ours.stderr


@pytest.mark.parametrize("arguments, said", [
    ([], "name a program"), (["--driver"], "needs a value"),
    (["--driver", "bogus", "-c", ""], "bogus"), (["-I", "-c", ""], "-I"),
    (["-BE", "-c", ""], "-E"), (["-X", "dev", "-S", "x.py"], "-S")])
def test_what_it_cannot_start_it_refuses(arguments, said):
    ended = python(*RUN, *arguments)
    assert ended.returncode == 2 and said in ended.stderr


def test_a_program_may_have_such_options_itself():
    ended = python(*RUN, "-Wignore", "-c", "import sys; print(sys.argv)", "-I", "-c")
    assert ended.stdout == "['-c', '-I', '-c']\n"


def test_the_environments_own_sitecustomize_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('own')")
    source = "import sitecustomize, sys; print(sitecustomize.__file__)"
    ended = python(*RUN, "-c", source, PYTHONPATH=str(tmp_path))
    # Once in the Python that was called, and once in the one that it becomes.
    assert ended.stdout.split() == ["own", "own", str(tmp_path / "sitecustomize.py")]


def test_another_python_is_left_alone():
    """As of another version: it could not load the compiled modules."""
    source = LOOPS + """
import os, subprocess
if os.environ["URING_LOOP_RUN"] != "other":
    os.environ["URING_LOOP_RUN"] = "other"
    sys.exit(subprocess.call([sys.executable, "-c", os.environ["SOURCE"]]))
print(set(kinds().values()), "uring_loop" in sys.modules)
"""
    ended = python(*RUN, "-c", source, SOURCE=source)
    assert ended.stdout == "{'stock'} False\n", ended.stderr


def test_a_loop_of_the_programs_own_making_stays_asyncios():
    ended = python(*RUN, "-c", """
import asyncio, selectors
class Mine(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(selectors.SelectSelector())
for loop in (Mine(), asyncio.SelectorEventLoop(selectors.SelectSelector())):
    print(hasattr(loop, "backend"), isinstance(loop, asyncio.SelectorEventLoop),
          loop.run_until_complete(asyncio.sleep(0, type(loop._selector).__name__)))
    loop.close()
print(issubclass(Mine, asyncio.SelectorEventLoop))
""")
    assert ended.stderr == ""
    assert ended.stdout.split() == ["False", "True", "SelectSelector"] * 2 + ["True"]


# ---- a server -------------------------------------------------------------------


@drivers
@pytest.mark.parametrize("switch", ["asyncio", "none"])
@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn_serves_on_our_loop(tmp_path, driver, switch, workers):
    needs(driver)
    server = servers.Server(tmp_path, [
        *RUN, "--driver", driver, "-m", "uvicorn", "--loop", switch, "--port", "0",
        "--workers", str(workers), "application:app"])
    with servers.running(server):
        pattern = r"running on http://127\.0\.0\.1:(\d+)"
        if workers > 1:
            port = int(server.until(pattern)[1])
        for _ in range(workers):
            server.until("Application startup complete")
        if workers == 1:
            port = int(server.until(pattern)[1])
        served = servers.served_by(port, 10, lambda data: data)
    assert {json.loads(about)["backend"] for about in served} == {driver}
