"""Some of the TLS connections with damage of tests/soak/tls_lives.py."""

import pathlib
import subprocess
import sys

import pytest

from tests.parity.engines import ENGINES
from tests.parity.loops import skip_where_io_uring_is_refused
from tests.slowness import PATIENCE_SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONNECTIONS = 600
SECONDS = 3 * PATIENCE_SECONDS
# Last on the path: the installed package comes before the sources beside the tests.
CHILD = f"""import sys
sys.path.append({str(ROOT)!r})
from tests.soak.tls_lives import main
main()"""


@pytest.mark.parametrize("driver", ("io_uring", "epoll"))
@pytest.mark.parametrize("engine", ENGINES)
def test_damaged_connections_deliver_no_damage_and_leave_nothing(driver, engine):
    if driver == "io_uring":
        skip_where_io_uring_is_refused()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "--connections", str(CONNECTIONS),
         "--driver", driver, "--engine", engine],
        capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
