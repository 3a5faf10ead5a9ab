"""Find what this machine lacks before a run starts, and name the cure."""

import contextlib

from benchmarks.load import build, c_client
from benchmarks.measure import programs
from benchmarks.measure.processes import BenchmarkError, python_child, stopping
from benchmarks.scenarios import loops

CURES = {"uvloop": "pip install 'uvloop==0.23.*'",
         "uring_loop": "pip install . (in the checkout)"}
COMPARED_UVLOOP = "0.23."


def check_loops(names, must_work, scratch, cores, say):
    """(loops that start here, {name: reason} of those whose options do not).

    A loop with options is a column of its own, another backend for example: if it
    cannot be made, the tables show the reason. A plain loop that cannot be made is left
    out. If one of `must_work` cannot be made, that is an error.
    """
    usable, missing = [], {}
    for name in names:
        try:
            child = python_child({"task": "startup", "loop": name}, cores, scratch)
            with stopping(child):
                facts = child.answer()["loop"]
        except BenchmarkError as error:
            spec = loops.parse(name)
            last = str(error).splitlines()[-1]
            if spec.options and name not in must_work:
                say(f"{loops.label(name)} is missing: {last}")
                missing[name] = last
                continue
            cure = CURES.get(spec.module, f"pip install {spec.module}")
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
    return usable, missing


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


def charts(say):
    """Name what is missing for the charts; True if nothing is."""
    try:
        programs.need_module("matplotlib")
    except BenchmarkError as error:
        say(f"no charts are drawn: {error}")
        return False
    return True


def call_counting(counter, say):
    """Name the missing tools for system calls."""
    if not counter.perf and not counter.strace:
        say("no system calls are counted; run: apt install strace")
    elif not counter.strace:
        say("system calls are not named in the raw results; run: apt install strace")


def _troubles(scenario):
    checks = [lambda name=name: programs.need_module(name) for name in scenario.needs]
    if scenario.runner in ("load", "fair", "memory"):
        checks.append(lambda: build.load_client(tls=scenario.secure))
    checks.append(lambda: _need_files(c_client.files_needed(scenario, 1)))
    if scenario.secure:
        checks.append(lambda: programs.need_program("openssl"))
    if scenario.runner == "http":
        checks.append(lambda: programs.need_program("wrk"))
    if scenario.kind.startswith("redis"):
        checks.append(lambda: programs.need_program("redis-server"))
    if scenario.kind == "asyncpg":
        checks.append(lambda: programs.need_program("postgres"))
    for check in checks:
        try:
            check()
        except BenchmarkError as error:
            yield str(error)


def _need_files(count):
    limit = c_client.files_limit()
    if count > limit:
        raise BenchmarkError(f"{count} open files are needed and {limit} allowed; "
                             f"run as root: prlimit --nofile={count} --pid $$")


@contextlib.contextmanager
def errors_as_messages(say):
    """Show a BenchmarkError as a message instead of a traceback, and exit with 2."""
    try:
        yield
    except BenchmarkError as error:
        say(str(error))
        raise SystemExit(2) from None
