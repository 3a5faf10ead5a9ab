"""What all parity tests share."""

import faulthandler
import gc

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

# A loop may swallow the exception by which the deadline of a test speaks: every
# callback's exception is caught. Then the process ends, and says where it hung.
BACKSTOP_SECONDS = 100


@pytest.fixture(autouse=True)
def backstop(pytestconfig):
    stderr = pytestconfig.stash[fault_handler_stderr_fd_key]  # not captured
    faulthandler.dump_traceback_later(BACKSTOP_SECONDS, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """The framework collects garbage around each body; let it look at little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
