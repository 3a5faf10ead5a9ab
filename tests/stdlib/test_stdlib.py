"""One pytest item per file of CPython's asyncio tests and backend.

URING_LOOP_BACKEND picks one backend, URING_LOOP_TEST_LOOP another loop (`asyncio` for
what fails on this machine without us). Two files run at a time, ahead of the items.
"""

import concurrent.futures
import os
import sys

import pytest

from . import files, harness

LOOP = os.environ.get("URING_LOOP_TEST_LOOP", "uring_loop")
BACKENDS = (
    (os.environ["URING_LOOP_BACKEND"],)
    if os.environ.get("URING_LOOP_BACKEND", "auto") != "auto"
    else files.BACKENDS
)
JOBS = files.jobs(sys.version_info[:2], BACKENDS)
FILES_AT_A_TIME = 2


def test_python_has_its_tests():
    missing = files.package_missing()
    if missing and os.environ.get("URING_LOOP_STDLIB_TESTS") == "optional":
        pytest.skip(missing)
    assert missing is None, missing


@pytest.fixture(scope="module")
def runs(request):
    """Start every chosen run, and hand out its future by (file, backend)."""
    wanted = [
        item.callspec.params["job"]
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_file"
        and item.path == request.path
    ]
    pool = concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME)
    yield {job: pool.submit(harness.run_file, job[0], LOOP, job[1]) for job in wanted}
    pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(2 * files.FILE_LIMIT_SECONDS)
@pytest.mark.parametrize("job", JOBS, ids="-".join)
def test_file(job, runs):
    if files.package_missing():
        pytest.skip("see test_python_has_its_tests")
    result = runs[job].result()
    if found := harness.problems(result):
        pytest.fail("\n\n".join(found), pytrace=False)
