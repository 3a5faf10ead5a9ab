"""Which files of CPython's `test.test_asyncio` are run, and on which backends.

Files that never reach a socket (tasks, futures, locks) cannot tell the backends apart,
so they run on one. A file that the running version does not have is left out.
"""

import dataclasses
import importlib.util
import sys

BACKENDS = ("io_uring", "epoll")
# One list for the allow-list's check; a new Python is added here first.
# The t of an entry limits it to a Python without a GIL.
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.14t", "3.15", "3.15t")

# A single test that takes longer than this hangs: the slowest needs 3 s, on a busy
# machine minutes.
TEST_LIMIT_SECONDS = 300
# What the allow-list knows to hang need not be waited for as long.
HANG_LIMIT_SECONDS = 3
# The slowest file needs 30 s.
FILE_LIMIT_SECONDS = 1500

CURE = (
    "this Python has no test.test_asyncio. Debian: apt-get install "
    "libpython3.{minor}-testsuite; elsewhere use a Python built with its tests. "
    "URING_LOOP_STDLIB_TESTS=optional turns this failure into a skip."
)


@dataclasses.dataclass(frozen=True)
class File:
    name: str
    backends: tuple = BACKENDS
    since: tuple = (3, 11)


ONE = ("io_uring",)

# Slow ones first: two files run at a time, and a long one must not start last.
FILES = (
    File("test_ssl"),
    File("test_events"),
    File("test_sendfile"),
    File("test_subprocess"),
    File("test_streams"),
    File("test_sock_lowlevel"),
    File("test_server"),
    File("test_server_context", since=(3, 15)),
    File("test_sslproto"),
    File("test_buffered_proto"),
    File("test_base_events"),
    File("test_unix_events"),
    File("test_tasks", ONE),
    File("test_futures", ONE),
    File("test_futures2", ONE),
    File("test_locks", ONE),
    File("test_queues", ONE),
    File("test_timeouts", ONE),
    File("test_taskgroups", ONE),
    File("test_runners", ONE),
    File("test_waitfor", ONE),
    File("test_context", ONE),
    File("test_eager_task_factory", ONE, since=(3, 12)),
    File("test_graph", ONE, since=(3, 14)),
    File("test_free_threading", ONE, since=(3, 14)),
)


def package_missing():
    """Return why the tests cannot be found, or None."""
    try:
        found = importlib.util.find_spec("test.test_asyncio") is not None
    except ModuleNotFoundError:
        found = False
    return None if found else CURE.format(minor=sys.version_info.minor)


def jobs(version, backends=BACKENDS):
    """(file name, backend) for every run that this version of Python needs."""
    return [
        (file.name, backend)
        for file in FILES
        for backend in file.backends
        if version >= file.since and backend in backends
    ]
