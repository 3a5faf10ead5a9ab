"""Find out before a run what is missing on this machine, and say how to get it."""

import contextlib

from benchmarks import load, loops, tools
from benchmarks.process import BenchmarkError, python_child, stopping

CURES = {"uvloop": "pip install 'uvloop==0.23.*'",
         "uring_loop": "pip install . (in the checkout)"}
COMPARED_UVLOOP = "0.23."


def usable_loops(names, must_work, scratch, cores, say):
    """The loops that start here; one of `must_work` that does not is an error."""
    usable = []
    for name in names:
        try:
            child = python_child({"task": "startup", "loop": name}, cores, scratch)
            with stopping(child):
                facts = child.answer()["loop"]
        except BenchmarkError as error:
            module = loops.parse(name).module
            last = str(error).splitlines()[-1]
            cure = CURES.get(module, f"pip install {module}")
            text = f"{name} does not start here: {last}; run: {cure}"
            if name in must_work:
                raise BenchmarkError(text) from None
            say(text)
            continue
        version = facts.get("version", "")
        if name == "uvloop" and not version.startswith(COMPARED_UVLOOP):
            say(f"uvloop {version} is not the compared version; run: "
                f"{CURES['uvloop']}")
        usable.append(name)
    return usable


def usable_scenarios(scenarios, say):
    """The scenarios whose tools are here; each missing tool is named once."""
    usable, left_out = [], {}
    for scenario in scenarios:
        troubles = list(_troubles(scenario))
        for trouble in troubles:
            left_out.setdefault(trouble, []).append(scenario.name)
        if not troubles:
            usable.append(scenario)
    for trouble, names in left_out.items():
        say(f"{trouble}; left out: {', '.join(names)}")
    return usable


def call_counting(counter, say):
    """Say what the missing tools for system calls would have given."""
    if not counter.perf and not counter.strace:
        say("no system calls are counted; run: apt install strace")
    elif not counter.strace:
        say("system calls are not named in the raw results; run: apt install strace")


def _troubles(scenario):
    checks = [lambda name=name: tools.need_module(name) for name in scenario.needs]
    if scenario.runner in ("load", "fair", "memory"):
        checks.append(lambda: tools.load_client(tls=scenario.protocol == "tls"))
        checks.append(lambda: _need_files(load.files_needed(scenario, 1)))
    if scenario.protocol == "tls":
        checks.append(lambda: tools.need_program("openssl"))
    if scenario.runner == "http":
        checks.append(lambda: tools.need_program("wrk"))
    if scenario.kind == "redis":
        checks.append(lambda: tools.need_program("redis-server"))
    for check in checks:
        try:
            check()
        except BenchmarkError as error:
            yield str(error)


def _need_files(count):
    limit = load.files_limit()
    if count > limit:
        raise BenchmarkError(f"{count} open files are needed and {limit} allowed; "
                             f"run as root: prlimit --nofile={count} --pid $$")


@contextlib.contextmanager
def person_readable(say):
    """Run a step whose failure is a message, not a traceback."""
    try:
        yield
    except BenchmarkError as error:
        say(str(error))
        raise SystemExit(2) from None
