"""Reads `projects.toml`: whose suites are run, at which version, and how."""

import dataclasses
import fnmatch
import pathlib
import tomllib

PATH = pathlib.Path(__file__).with_name("projects.toml")
SERVERS = ("", "redis", "postgres", "nats")


@dataclasses.dataclass(frozen=True)
class Known:
    """A test that fails on our loop and not on asyncio's, and why that stays so."""

    test: str
    why: str

    def matches(self, test_id):
        return fnmatch.fnmatchcase(test_id, self.test)


@dataclasses.dataclass(frozen=True)
class Project:
    name: str  # as on PyPI
    version: str
    tests: tuple  # arguments for pytest: folders, files, options
    about: str = ""  # what of the suite is run, if not all of it
    note: str = ""  # on what fails on asyncio, too
    git: str = ""  # where the sdist has no tests: a repository
    tag: str = ""
    folder: str = ""  # of the sources: where pytest is started
    drop: tuple = ()  # folders that would hide the installed package
    install: tuple = ()  # what the tests need beside the project
    server: str = ""  # which one has to run
    quiet: tuple = ()  # loggers that the project's own runner silences
    standins: bool = False  # our `uvloop` instead of the real one
    sources_only: bool = False  # the project itself is not installed
    known: tuple = ()

    def why(self, test_id):
        """The reason for a difference, or "" if nobody has given one."""
        return next((k.why for k in self.known if k.matches(test_id)), "")


def load(path=PATH):
    """All projects by name; a malformed entry raises ValueError or TypeError."""
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    return {name: checked(name, table) for name, table in tables.items()}


def checked(name, table):
    known = tuple(Known(**entry) for entry in table.pop("known", ()))
    lists = {key: tuple(v) for key, v in table.items() if isinstance(v, list)}
    project = Project(name=name, known=known, **{**table, **lists})
    if project.server not in SERVERS:
        raise ValueError(f"{name}: no such server: {project.server}")
    if bool(project.git) != bool(project.tag):
        raise ValueError(f"{name}: git and tag belong together")
    return project
