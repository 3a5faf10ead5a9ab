"""Idle HTTP connections beside the load: each has had one answer and stays open."""

import contextlib
import resource
import socket

from benchmarks.measure.processes import BenchmarkError

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD_END = b"\r\n\r\n"
PATIENCE_SECONDS = 10.0
READ_BYTES = 4096


@contextlib.contextmanager
def connections(address, count):
    """Hold `count` connections that a server keeps alive after an answer.

    At the end the server has closed all of them, so that closing costs no other slice.
    """
    with contextlib.ExitStack() as stack:
        try:
            sockets = [_opened(address, stack) for _ in range(count)]
            for connection in sockets:
                _read_answer(connection)
        except OSError as error:
            raise BenchmarkError(f"an idle connection failed: {error}") from None
        yield sockets
        # A server may have closed a connection that was idle for too long.
        with contextlib.suppress(OSError):
            for connection in sockets:
                connection.shutdown(socket.SHUT_WR)
            for connection in sockets:
                while connection.recv(READ_BYTES):
                    pass


def allow_many_files():
    """Raise this process's limit of descriptors as far as it may."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _opened(address, stack):
    connection = stack.enter_context(
        socket.create_connection(address, PATIENCE_SECONDS))
    connection.sendall(REQUEST)
    return connection


def _read_answer(connection):
    seen = b""
    while not _is_whole(seen):
        data = connection.recv(READ_BYTES)
        if not data:
            raise BenchmarkError("an idle connection was closed before its answer")
        seen += data


def _is_whole(answer):
    head, end, body = answer.partition(HEAD_END)
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n")
              if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= int(*length)
