"""The tests of TLS once more, with the data passing through ssl."""

import pytest

from uring_loop.driver.options import TLS_VARIABLE

from .test_tls import *  # noqa: F403
from .test_tls_ends import *  # noqa: F403


@pytest.fixture(autouse=True)
def through_ssl(monkeypatch):
    monkeypatch.setenv(TLS_VARIABLE, "stdlib")
