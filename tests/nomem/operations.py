"""The operations of the walk: what is set up, the step that lacks memory, the check.

An operation gets a loop and the switch of the missing memory. Every object that the
step needs on the test's side is made before memory is missing.
"""

import asyncio
import socket
import tempfile

from tests.slowness import PATIENCE_SECONDS

from .lacking import run_lacking, turn

DATA = bytes(range(256)) * 20


class Ends(asyncio.Protocol):
    """Collects by the simplest code: CPython's own may crash without memory."""

    def __init__(self):
        self.parts = []
        self.losses = []
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.parts.append(data)

    def datagram_received(self, data, address):
        self.parts.append(data)

    def error_received(self, exc):
        pass

    def connection_lost(self, exc):
        self.losses.append(exc)


def until(loop, happened):
    async def wait():
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():
                await asyncio.sleep(0.0005)

    loop.run_until_complete(wait())


def pair(loop):
    """A connected transport of the loop and the far socket."""
    ends = Ends()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.run_until_complete(
            loop.create_connection(lambda: ends, *listener.getsockname()))
        far, _ = listener.accept()
    far.settimeout(PATIENCE_SECONDS)
    return ends, far


def check_stream(loop, ends, expected):
    """All bytes, or connection_lost(MemoryError) behind a part of them."""
    until(loop, lambda: ends.losses or b"".join(ends.parts) == expected)
    assert expected.startswith(b"".join(ends.parts)), "a hole"
    check_lost(ends)


def check_lost(ends):
    assert len(ends.losses) <= 1
    for exc in ends.losses:
        assert isinstance(exc, (MemoryError, OSError, type(None))), repr(exc)


def finish(loop, ends, far):
    """The transport can be aborted, and says so once."""
    ends.transport.abort()
    until(loop, lambda: ends.losses)
    turn(loop)
    assert len(ends.losses) == 1
    far.close()


def read(loop, lacking):
    ends, far = pair(loop)
    far.sendall(DATA)
    run_lacking(loop, lacking)
    turn(loop)
    try:
        far.sendall(b"behind")
    except OSError:
        assert ends.losses
    check_stream(loop, ends, DATA + b"behind")
    finish(loop, ends, far)


def read_in_a_pause(loop, lacking):
    ends, far = pair(loop)
    far.sendall(DATA)
    turn(loop)
    ends.transport.pause_reading()
    far.sendall(DATA)
    turn(loop)
    run_lacking(loop, lacking, ends.transport.resume_reading)
    turn(loop)
    ends.transport.resume_reading()
    check_stream(loop, ends, DATA + DATA)
    finish(loop, ends, far)


def write(loop, lacking):
    ends, far = pair(loop)
    much = DATA * 600
    done = [False]

    def step():
        ends.transport.write(much)
        done[0] = True

    run_lacking(loop, lacking, step)
    got = b""
    far.setblocking(False)
    ends.transport.close()

    def received():
        nonlocal got
        try:
            part = far.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            return True
        got += part
        return not part

    until(loop, received)
    until(loop, lambda: ends.losses)
    assert much.startswith(got)
    assert got == much or not done[0] or ends.losses != [None], "bytes are missing"
    finish(loop, ends, far)


def close(loop, lacking):
    ends, far = pair(loop)
    run_lacking(loop, lacking, ends.transport.close)
    finish(loop, ends, far)


def connect(loop, lacking):
    ends = Ends()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        tasks = []

        def step():
            tasks.append(loop.create_task(
                loop.create_connection(lambda: ends, *address)))

        run_lacking(loop, lacking, step)
        for task in tasks:
            until(loop, task.done)
            # Whether or not it is a MemoryError: nothing may be left behind.
            assert task.exception() is None or not ends.transport or ends.losses
        if ends.transport is not None:
            finish(loop, ends, listener.accept()[0])


def accept(loop, lacking):
    served = []

    def factory():
        served.append(Ends())
        return served[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    with socket.create_connection(address, 5) as first:
        run_lacking(loop, lacking)
        turn(loop)
        with socket.create_connection(address, 5) as second:
            # A server that lacked memory once accepts again.
            until(loop, lambda: any(
                ends.transport and ends.transport.get_extra_info("peername")
                == second.getsockname() for ends in served))
            server.close()
            for ends in served:
                if ends.transport is not None and not ends.losses:
                    ends.transport.abort()
            until(loop, lambda: all(
                ends.losses for ends in served if ends.transport))
        assert first.fileno() >= 0


def move(loop, lacking):
    """Another thread runs the loop; what came meanwhile is not lost."""
    ends, far = pair(loop)
    far.sendall(DATA)
    turn(loop, 1)
    far.sendall(DATA)
    run_lacking(loop, lacking, elsewhere=True)
    check_stream(loop, ends, DATA + DATA)
    finish(loop, ends, far)


def datagrams(loop, lacking):
    ends = Ends()
    loop.run_until_complete(loop.create_datagram_endpoint(
        lambda: ends, local_addr=("127.0.0.1", 0)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.connect(ends.transport.get_extra_info("sockname"))
        far.send(b"one")
        run_lacking(loop, lacking)
        turn(loop)
        far.send(b"two")
        until(loop, lambda: ends.losses or b"two" in ends.parts)
        assert ends.parts in ([b"one", b"two"], [b"two"], [b"one"], []), ends.parts
        finish(loop, ends, far)


def timers(loop, lacking):
    ran = [0]

    def tick():
        ran[0] += 1

    handles = [loop.call_later(0, tick) for _ in range(10)]

    def step():
        for handle in handles[:3]:
            handle.cancel()
        loop.call_later(0.001, tick)
        loop.call_soon(tick)

    run_lacking(loop, lacking, step)
    until(loop, lambda: ran[0] >= 7)
    turn(loop)


def files(loop, lacking):
    import uring_loop

    # A task that asyncio could not register runs all the same, and nobody can await it.
    begun, ended = [0], [0]

    async def use(path):
        begun[0] += 1
        try:
            return await write_and_read(path)
        finally:
            ended[0] += 1

    async def write_and_read(path):
        async with await uring_loop.open(path, "r+b", buffering=0) as file:
            await file.pwrite(DATA, 0)
            return await file.pread(len(DATA), 0)

    with tempfile.NamedTemporaryFile() as file:
        tasks = []
        run_lacking(loop, lacking, lambda: tasks.append(
            loop.create_task(use(file.name))))
        turn(loop)
        until(loop, lambda: begun == ended)
        assert loop.run_until_complete(use(file.name)) == DATA


def tls(loop, lacking):
    tls_write(loop, lacking, [DATA])


def tls_bulk(loop, lacking):
    """Long writes until the socket is full, and more that wait then."""
    tls_write(loop, lacking, 24 * [DATA * 20])


def tls_write(loop, lacking, pieces):
    from tests.parity.certificates import NAME, client_context, server_context

    served = Ends()
    server = loop.run_until_complete(loop.create_server(
        lambda: served, "127.0.0.1", 0, ssl=server_context()))
    ends = Ends()
    loop.run_until_complete(loop.create_connection(
        lambda: ends, *server.sockets[0].getsockname(), ssl=client_context(),
        server_hostname=NAME))
    until(loop, lambda: served.transport)
    ends.transport.write(pieces[0])
    accepted = len(pieces[0])

    def write():
        nonlocal accepted
        for piece in pieces[1:]:
            ends.transport.write(piece)
            accepted += len(piece)

    run_lacking(loop, lacking, write)
    until(loop, lambda: (served.losses or ends.losses
                         or sum(map(len, served.parts)) >= accepted))
    assert b"".join(pieces).startswith(b"".join(served.parts)), "a hole"
    server.close()
    for side in (ends, served):
        side.transport.abort()
    until(loop, lambda: ends.losses and served.losses)


OPERATIONS = {function.__name__: function for function in (
    read, read_in_a_pause, write, close, connect, accept, move, datagrams, timers,
    files, tls, tls_bulk)}
