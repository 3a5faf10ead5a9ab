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


@pytest.fixture(autouse=True)
def gathering_as_asked(request, monkeypatch):
    """The files that are about gathered writes see them, whatever the environment
    says of the other files."""
    if getattr(request.module, "GATHERS_WRITES", False):
        monkeypatch.delenv("URING_LOOP_GATHER_WRITES", raising=False)
