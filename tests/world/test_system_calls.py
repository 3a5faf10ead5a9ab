"""Each driver keeps to its own system calls, counted with strace.

The program marks a stretch by two chdir() calls. All connections exist by then, so
what a loop may use epoll for on the ring (listeners, watches, the waits of sock_*()) is
quiet between the marks: no call of epoll may appear there at all. As long as there are
connections, its epoll_ctl() calls may name the descriptors of those, not a transport's.
"""

import re
import shutil
import subprocess
import sys

import pytest

from ..parity import loops

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: apt install strace")

URING = "io_uring_setup,io_uring_enter,io_uring_register"
EPOLL = "epoll_create,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2"

PROGRAM = """
import asyncio, os, socket, sys
import uring_loop

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        descriptor(transport)
    def data_received(self, data):
        self.transport.write(data)

class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.came = asyncio.Queue()
    def datagram_received(self, data, address):
        self.came.put_nowait(data)

def descriptor(transport):
    print("transport", transport.get_extra_info("socket").fileno())

async def streams(reader, writer, count):
    for _ in range(count):
        writer.write(b"x" * 1000)
        assert await reader.readexactly(1000) == b"x" * 1000
        await asyncio.sleep(0.0001)

async def datagrams(transport, protocol, count):
    for _ in range(count):
        transport.sendto(b"datagram")
        assert await protocol.came.get() == b"datagram"

async def everything_else(loop):
    near, far = socket.socketpair()
    near.setblocking(False), far.setblocking(False)
    waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    await loop.sock_sendall(far, b"bytes")
    assert await waiting == b"bytes"
    seen = asyncio.Event()
    loop.add_reader(near, seen.set)
    far.send(b"x")
    await seen.wait()
    loop.remove_reader(near)
    near.close(), far.close()
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate(b"through a pipe"))[0] == b"through a pipe"
    assert await asyncio.to_thread(int, "1") == 1
    async with uring_loop.open(__file__) as file:
        assert await file.read()

async def main(mark):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    receiving, protocol = await loop.create_datagram_endpoint(
        Datagrams, local_addr=("127.0.0.1", 0))
    sending, _ = await loop.create_datagram_endpoint(
        Datagrams, remote_addr=receiving.get_extra_info("sockname"))
    descriptor(receiving), descriptor(sending)
    await streams(reader, writer, 5)
    await datagrams(sending, protocol, 5)
    mark()
    await asyncio.gather(
        streams(reader, writer, 100), datagrams(sending, protocol, 100))
    mark()
    await everything_else(loop)
    writer.close(), receiving.close(), sending.close(), server.close()
    await writer.wait_closed()

uring_loop.run(main(lambda: os.chdir("/")), backend=sys.argv[1])
print("done")
"""


class Traced:
    """The program on one driver: its words, and the lines of strace."""

    def __init__(self, folder, backend, calls):
        if backend == "io_uring":
            loops.skip_where_io_uring_is_refused()
        program, log = folder / "program.py", folder / "calls"
        program.write_text(PROGRAM)
        self.words = subprocess.run(
            ["strace", "-f", "-qq", "-e", f"trace={calls},chdir", "-o", log,
             sys.executable, "-P", program, backend],
            stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        assert self.words[-1] == "done"
        self.lines = log.read_text().splitlines()

    def between_marks(self):
        first, last = (n for n, line in enumerate(self.lines) if 'chdir("/")' in line)
        return self.lines[first + 1:last]

    def until_the_end_of_the_stretch(self):
        """Before any number of a transport can belong to another file."""
        last = max(n for n, line in enumerate(self.lines) if 'chdir("/")' in line)
        return self.lines[:last]


def test_the_epoll_driver_makes_no_call_of_io_uring(tmp_path):
    traced = Traced(tmp_path, "epoll", URING)
    assert [line for line in traced.lines if "io_uring" in line] == []


def test_the_io_uring_driver_waits_in_io_uring_alone(tmp_path):
    traced = Traced(tmp_path, "io_uring", f"{URING},{EPOLL}")
    stretch = traced.between_marks()
    assert [line for line in stretch if "epoll" in line] == []
    assert any("io_uring_enter" in line for line in stretch)


def test_the_io_uring_driver_registers_no_transport_with_epoll(tmp_path):
    """Checked of accepted connections and of datagrams; the client's own descriptor
    may have been waited for while it connected."""
    traced = Traced(tmp_path, "io_uring", EPOLL)
    control = re.compile(r"epoll_ctl\(\d+, EPOLL_CTL_(?:ADD|MOD), (\d+)")
    found = map(control.search, traced.until_the_end_of_the_stretch())
    registered = {match[1] for match in found if match}
    transports = {number for word, number in zip(traced.words, traced.words[1:])
                  if word == "transport"}
    assert len(transports) == 3
    assert registered & transports == set()
