"""What all parity tests share."""

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """The framework collects garbage around each body; let it look at little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
