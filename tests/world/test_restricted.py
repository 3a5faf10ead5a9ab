"""A restricted ring serves all that a loop offers: see tests/ring/test_restrict.py.

On epoll there is nothing to restrict, and the option changes nothing.
"""

import os
import socket
import threading

import pytest
import uring_loop

from ..parity import loops
from ..stress import children
from . import everything, kit

RESTRICTIONS = [False, True, "files"]

EVERYTHING = """
os.chdir({folder!r})
loop = new_loop()
print("restricted", loop.ring_restricted)
tell(loop.run_until_complete(attempt_all(loop)))
print("again=" + str(loop.ring_restricted))
loop.close()
"""


@pytest.fixture(params=kit.OURS)
def backend(request):
    if request.param == "io_uring":
        loops.skip_where_io_uring_is_refused()
    return request.param


@pytest.mark.parametrize("value", ["1", "files"])
@kit.our_names
def test_everything_works_on_a_restricted_ring(
        loop_name, value, tmp_path, monkeypatch):
    monkeypatch.setenv("URING_LOOP_RESTRICT", value)
    words = children.run(
        everything.source(loop_name, tmp_path)
        + EVERYTHING.format(folder=str(tmp_path)), loop_name)
    in_force = {"1": "True", "files": "files"}[value]
    if loop_name == "epoll":
        in_force = "False"
    assert words[words.index("restricted") + 1] == in_force
    results = everything.results(words)
    assert results.pop("again") == in_force
    assert set(results.values()) == {"ok"}, results


@pytest.mark.parametrize("restrict", RESTRICTIONS)
def test_files_are_on_the_ring_only_where_it_may_serve_them(
        backend, restrict, tmp_path):
    loop = uring_loop.Loop(backend=backend, restrict=restrict)
    try:
        before = loop.statistics().completions
        path = str(tmp_path / "file")
        loop.run_until_complete(uring_loop.write_bytes(path, b"bytes"))
        assert loop.run_until_complete(uring_loop.read_bytes(path)) == b"bytes"
        loop.run_until_complete(uring_loop.fs.unlink(path))
        assert not os.path.exists(path)
        threads = [thread for thread in threading.enumerate()
                   if thread.name.startswith("asyncio_")]
        on_ring = backend == "io_uring" and restrict in (False, "files")
        assert bool(threads) != on_ring
        assert loop.statistics().completions > before
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.mark.parametrize("restrict", RESTRICTIONS)
def test_a_guest_loop_works_on_a_restricted_ring(backend, restrict):
    """Its host hears of completions by an eventfd that is registered."""
    loop = uring_loop.Loop(backend=backend, restrict=restrict)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        ended = []
        with loop.guest().running(on_stop=lambda: ended.append(True)) as guest:
            task = loop.create_task(loop.sock_recv(near, 10))
            task.add_done_callback(lambda _: loop.stop())
            far.send(b"bytes")
            while not ended:
                guest.prepare()
                guest.check()
                guest.dispatch()
        assert task.result() == b"bytes"
    loop.close()


def test_the_argument_has_precedence_over_the_environment(backend, monkeypatch):
    def restricted(**options):
        loop = uring_loop.Loop(backend=backend, **options)
        loop.close()
        return loop.ring_restricted

    in_force = (lambda value: value) if backend == "io_uring" else (lambda value: False)
    assert restricted() is False
    for text, value in (("1", True), ("files", "files"), ("0", False), ("", False)):
        monkeypatch.setenv("URING_LOOP_RESTRICT", text)
        assert restricted() == in_force(value)
        assert restricted(restrict=False) is False
        assert restricted(restrict=True) == in_force(True)


def test_other_values_are_an_error(backend, monkeypatch):
    for value in ("yes", 1, 0, ()):
        with pytest.raises(ValueError, match='restrict must be True, False or "files"'):
            uring_loop.Loop(backend=backend, restrict=value)
    monkeypatch.setenv("URING_LOOP_RESTRICT", "all")
    with pytest.raises(ValueError, match="URING_LOOP_RESTRICT must be 0, 1 or files"):
        uring_loop.Loop(backend=backend)
