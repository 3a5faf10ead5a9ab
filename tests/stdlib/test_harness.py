"""The harness fails a run that proves nothing, and an allow-list that rots."""

import pytest

from . import allowlist, harness
from .harness import FileResult, Outcome

ENTRY = {
    "test": "test_events.SomeTests.test_a*",
    "versions": ["3.12"],
    "backends": ["io_uring"],
    "reason": "cannot apply",
}


def result_of(**tests):
    result = FileResult("test_events", "uring_loop", "io_uring", loops_made=1)
    for name, kind in tests.items():
        result.tests[f"test_events.SomeTests.{name}"] = Outcome(kind)
    return result


def test_the_list_can_be_read():
    assert all(entry.reason for entry in allowlist.load())


@pytest.mark.parametrize(
    "key, value",
    [
        ("test", "test_nothing.SomeTests.test_a"),
        ("test", "test_events"),
        ("versions", []),
        ("versions", ["2.7"]),
        ("backends", []),
        ("backends", ["kqueue"]),
        ("reason", " "),
        ("reasons", "misspelt"),
    ],
)
def test_a_malformed_entry_is_refused(key, value):
    with pytest.raises(ValueError):
        allowlist.checked({**ENTRY, key: value})


def test_an_entry_must_name_backends_that_the_file_runs_on():
    with pytest.raises(ValueError, match="not run on that backend"):
        allowlist.checked(
            {**ENTRY, "test": "test_locks.LockTests.*", "backends": ["epoll"]}
        )


@pytest.mark.parametrize(
    "file, version, backend, covered",
    [
        ("test_events", "3.12", "io_uring", True),
        ("test_events", "3.12t", "io_uring", True),
        ("test_server", "3.12", "io_uring", False),
        ("test_events", "3.13", "io_uring", False),
        ("test_events", "3.12", "epoll", False),
    ],
)
def test_an_entry_covers_only_what_it_names(file, version, backend, covered):
    assert allowlist.checked(ENTRY).covers(file, version, backend) is covered


def test_an_allowed_failure_is_no_problem():
    entries = [allowlist.checked(ENTRY)]
    assert harness.problems(result_of(test_a="failed", test_b="passed"), entries) == []


def test_a_failure_that_no_entry_allows_is_a_problem():
    (problem,) = harness.problems(result_of(test_b="died"), [])
    assert problem.startswith("died: test_events.SomeTests.test_b")


def test_an_entry_that_no_failure_needs_is_a_problem():
    entries = [allowlist.checked(ENTRY)]
    (problem,) = harness.problems(result_of(test_a="passed"), entries)
    assert "not needed" in problem


def test_a_run_of_no_test_is_a_problem():
    assert "no test ran" in harness.problems(result_of(test_a="skipped"), [])


def test_a_run_that_made_no_loop_is_a_problem():
    result = result_of(test_a="passed")
    result.loops_made = 0
    (problem,) = harness.problems(result, [])
    assert "put in" in problem


def test_another_backend_than_asked_for_is_a_problem():
    result = result_of(test_a="passed")
    harness.take_report(result, [{"kind": "loop", "backend": "epoll"}], "", "")
    assert harness.problems(result, [])[0] == "asked for io_uring, got epoll"


def test_a_process_that_ends_in_a_test_is_that_tests_failure():
    result = result_of()
    ended = harness.take_report(
        result, [{"kind": "start", "test": "t"}], "Segmentation fault", "status -11"
    )
    assert not ended
    assert result.tests["t"].kind == "died"
    assert "Segmentation fault" in result.tests["t"].detail


def test_the_stock_loop_passes_through_the_harness():
    result = harness.run_file("test_context", "asyncio")
    assert harness.problems(result) == []
