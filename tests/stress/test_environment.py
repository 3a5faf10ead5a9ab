"""A hostile environment: no descriptors left, io_uring forbidden, a fork, Ctrl-C."""

import errno
import signal

import pytest

from .. import kit_seccomp
from ..parity import loops
from . import children

names = pytest.mark.parametrize("loop_name", loops.under_test())

# Our own behaviour where io_uring is forbidden: nothing for other loops to do.
ours_only = pytest.mark.skipif(
    not set(loops.OURS) & set(loops.under_test()), reason="no loop of ours is tested"
)

ECHO = """\
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def serve_one():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"ping")
    print((await reader.readexactly(4)).decode())
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
"""


@names
def test_accepting_recovers_when_descriptors_come_back(loop_name):
    """With all descriptors in use, connections wait; none is refused or lost."""
    words = children.run(ECHO + """
import logging, resource
logging.disable(logging.CRITICAL)   # the loop says so for each failed accept

async def main():
    loop = asyncio.get_running_loop()
    asyncio.constants.ACCEPT_RETRY_DELAY = 0.05
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=100)
    address = server.sockets[0].getsockname()
    peers = [socket.socket() for _ in range(20)]
    limit = max(map(int, os.listdir("/proc/self/fd"))) + 6
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    for peer in peers:
        peer.setblocking(False)
        await loop.sock_connect(peer, address)
        await loop.sock_sendall(peer, b"x")
    answered = await loop.sock_recv(peers[0], 1)
    await asyncio.sleep(0.2)            # the listener meets EMFILE meanwhile
    print("starved", answered.decode())
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for peer in peers[1:]:
        answered = await loop.sock_recv(peer, 1)
        assert answered == b"x", answered
    print("recovered")
    for peer in peers:
        peer.close()
    server.close()

loop = new_loop()
loop.set_exception_handler(lambda *args: None)
loop.run_until_complete(asyncio.wait_for(main(), 20))
""", loop_name)
    assert words == ["starved", "x", "recovered"]


@ours_only
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_forbidden_io_uring_falls_back(number):
    words = children.run(kit_seccomp.source() + ECHO + f"""
forbid_io_uring({number})
import uring_loop
loop = uring_loop.new_event_loop()
print(loop.backend, "why:" + loop.backend_reason.replace(" ", "_"))
loop.run_until_complete(serve_one())
loop.close()
""", URING_LOOP_BACKEND="auto")
    assert words[0] == "epoll"
    assert words[2] == "ping"
    assert errno.errorcode[number] in words[1]
    if number == errno.EPERM:
        assert "seccomp" in words[1]


@ours_only
def test_forbidden_io_uring_that_was_demanded_is_an_error():
    words = children.run(kit_seccomp.source() + f"""
forbid_io_uring({errno.EPERM})
import uring_loop
try:
    uring_loop.new_event_loop()
except Exception as exc:
    print(isinstance(exc, OSError), str(exc).replace(" ", "_"))
""", URING_LOOP_BACKEND="io_uring")
    assert words[0] == "True"
    assert "seccomp" in words[1]
    assert "allow_io_uring_setup" in words[1], "no cure named"


@ours_only
def test_a_wrong_backend_name_is_an_error():
    words = children.run("""
import uring_loop
try:
    uring_loop.new_event_loop()
except ValueError as exc:
    print("refused", "bogus" in str(exc))
""", URING_LOOP_BACKEND="bogus")
    assert words == ["refused", "True"]


@ours_only
def test_importing_makes_no_ring():
    words = children.run(kit_seccomp.source() + """
import uring_loop
fds = {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
       if os.path.exists(f"/proc/self/fd/{n}")}
print(any("io_uring" in target for target in fds))
forbid_io_uring(1)
uring_loop.Loop, uring_loop.EventLoopPolicy
print("imported")
""")
    assert words == ["False", "imported"]


@names
def test_fork_parent_and_child(loop_name):
    """The parent goes on; the child makes a loop of its own."""
    words = children.run(ECHO + """
loop = new_loop()
loop.run_until_complete(serve_one())
child = os.fork()
if child == 0:
    mine = new_loop()
    mine.run_until_complete(serve_one())
    mine.close()
    print("child", flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
loop.run_until_complete(serve_one())
loop.close()
""", loop_name)
    assert words == ["ping", "ping", "child", "0", "ping"] or (
        # The words of the parent before the fork are in the child's buffer too.
        sorted(words) == sorted(["ping", "ping", "ping", "child", "0", "ping"])
    )


@pytest.mark.skipif("io_uring" not in loops.under_test(), reason="about rings")
def test_a_loop_used_in_a_forked_child_raises():
    words = children.run("""
loop = new_loop()
loop.run_until_complete(asyncio.sleep(0))
sys.stdout.flush()
child = os.fork()
if child == 0:
    try:
        loop.run_until_complete(asyncio.sleep(0.01))
    except RuntimeError as exc:
        print("refused", "fork" in str(exc), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(loop.run_until_complete(asyncio.sleep(0.01, "unharmed")))
loop.close()
""", "io_uring")
    assert words == ["refused", "True", "unharmed"]


@pytest.mark.skipif("io_uring" not in loops.under_test(), reason="about rings")
def test_closing_the_inherited_loop_leaves_the_parents_connections():
    """A forked child that closes the loop must not end what the parent has open."""
    words = children.run(ECHO + """
async def connect():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    streams = await asyncio.open_connection(*server.sockets[0].getsockname())
    return server, *streams

async def ask(reader, writer):
    writer.write(b"ping")
    return (await reader.readexactly(4)).decode()

loop = new_loop()
server, reader, writer = loop.run_until_complete(connect())
child = os.fork()
if child == 0:
    try:
        loop.close()
    except RuntimeError:
        pass   # to refuse is as good as to leave the ring alone
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(loop.run_until_complete(asyncio.wait_for(ask(reader, writer), 10)))
writer.close()
loop.run_until_complete(writer.wait_closed())
server.close()
loop.run_until_complete(server.wait_closed())
loop.close()
""", "io_uring")
    assert words == ["ping"]


@pytest.mark.skipif("io_uring" not in loops.under_test(), reason="about rings")
def test_closing_the_inherited_loop_leaves_the_parents_watches():
    words = children.run("""
loop = new_loop()
near, far = socket.socketpair()
loop.add_reader(near, lambda: (print(near.recv(10).decode()), loop.stop()))
if os.fork() == 0:
    loop.remove_reader(near)
    loop.close()
    os._exit(0)
assert os.wait()[1] == 0
far.send(b"heard")
loop.run_forever()
loop.close()
""", "io_uring")
    assert words == ["heard"]


BUSY = {
    "idle": "await asyncio.sleep(1000)",
    "busy": "while True: await asyncio.sleep(0)",
    "waiting for a socket": "await loop.sock_accept(listener)",
}


@pytest.mark.parametrize("state", BUSY)
@names
def test_ctrl_c_ends_the_program(loop_name, state):
    child = children.start(f"""
async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop.call_soon(lambda: print("ready", flush=True))
    try:
        {BUSY[state]}
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    finally:
        listener.close()

with asyncio.Runner(loop_factory=new_loop) as runner:
    try:
        runner.run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
""", loop_name)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    words, err, returncode = children.finish(child)
    assert words == ["cancelled", "interrupted"]
    assert (returncode, err) == (0, "")
