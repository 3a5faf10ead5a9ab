"""gunicorn with our worker class serves on our loop, beside uvloop or without it."""

import json
import os

import pytest

from ..parity import loops
from . import kit, servers


def start(folder, worker, environment):
    server = servers.Server(folder, [
        "-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:0", "--pythonpath", str(folder),
        "--no-control-socket", "-k", worker, "application:app"],
        environment=environment)
    server.port = int(server.until(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
    return server


@kit.our_names
@pytest.mark.parametrize("kind", ["UvicornWorker", "UvicornH11Worker"])
def test_our_worker_class_serves_on_our_loop(tmp_path, loop_name, kind):
    if loop_name == "io_uring":
        loops.skip_where_io_uring_is_refused()
    environment = os.environ | {"URING_LOOP_BACKEND": loop_name}
    with servers.running(start(
            tmp_path, f"uring_loop.gunicorn.{kind}", environment)) as server:
        served = servers.served_by(server.port, 20, lambda data: data)
        said = server
    assert {json.loads(about)["backend"] for about in served} == {loop_name}
    assert said.process.returncode == 0
