"""Runs the tests of a module once for each TLS engine."""

import pytest

from uring_loop.driver.options import TLS_VARIABLE

ENGINES = ("auto", "stdlib")


@pytest.fixture(params=ENGINES, autouse=True)
def tls_engine(request, monkeypatch):
    """Import it into a module whose tests are to run with each engine."""
    monkeypatch.setenv(TLS_VARIABLE, request.param)
    return request.param
