"""Nothing is imported from a file after a loop has been made.

An import would fail after chroot(), without a free descriptor, and while the package is
being upgraded in place.
"""

import inspect
import os
import subprocess
import sys

import pytest
import uring_loop

# Everything once. `step` runs a coroutine and keeps its error, if it has one.
EXERCISE = """
import asyncio, os, resource, signal, socket, ssl, sys, tempfile, threading
import uring_loop
from uring_loop import Path     # with pathlib: imported when its name is used

folder = tempfile.mkdtemp()
known = os.path.join(folder, "file")
open(known, "w").write("text")
loop = uring_loop.new_event_loop()
errors = {}
imported = []

async def step(name, coroutine):
    try:
        await asyncio.wait_for(coroutine, 60)
    except Exception as error:
        errors[name] = error

async def streams():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    if not server.sockets:
        # Some versions of asyncio leave out an address that gets no descriptor.
        raise OSError(24, "no descriptor for a listener")
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()

async def names():
    await loop.getaddrinfo("127.0.0.1", 1)
    await loop.getnameinfo(("127.0.0.1", 1), socket.NI_NUMERICHOST)

async def datagrams():
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", 0))
    transport.sendto(b"x", transport.get_extra_info("sockname"))
    await asyncio.sleep(0)
    transport.close()

async def sockets():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        theirs.send(b"x")
        await loop.sock_recv(ours, 1)
        await loop.sock_sendall(ours, b"x")

async def tls():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"no TLS at all")
        theirs.shutdown(socket.SHUT_WR)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            await loop.create_connection(
                asyncio.Protocol, sock=ours, ssl=context, server_hostname="x")
        except OSError:
            pass

async def pipes():
    read_end, write_end = os.pipe()
    reading, _ = await loop.connect_read_pipe(
        asyncio.Protocol, os.fdopen(read_end, "rb", 0))
    writing, _ = await loop.connect_write_pipe(
        asyncio.Protocol, os.fdopen(write_end, "wb", 0))
    writing.write(b"x")
    await asyncio.sleep(0)
    writing.close()
    reading.close()

async def processes():
    try:
        process = await asyncio.create_subprocess_exec("/bin/true", stdout=-1)
        await process.communicate()
    except FileNotFoundError:
        pass    # after chroot()

async def files():
    path = known if os.path.exists(known) else "/made"
    await uring_loop.write_text(path, "a line")
    async with uring_loop.open(path) as file:
        async for line in file:
            assert line == "a line"
    async with uring_loop.open(path, "rb", buffering=0) as file:
        await file.read(1)
    await uring_loop.copyfile(path, path + ".copy")
    await Path(path).exists()
    await uring_loop.fs.stat(path)
    uring_loop.aligned_buffer(4096)

async def threads():
    await loop.run_in_executor(None, int)
    await asyncio.to_thread(int)
    thread = uring_loop.IOThread()
    thread.run(asyncio.sleep(0)).result()
    thread.stop()

async def the_rest():
    loop.statistics()
    loop.add_signal_handler(signal.SIGUSR1, int)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.set_debug(True)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": "an error, logged"})
    for name in uring_loop.__all__:
        getattr(uring_loop, name)
    import uring_loop.fs as _

PARTS = (streams, names, datagrams, sockets, tls, pipes, processes, files, threads,
         the_rest)

async def main():
    for part in PARTS:
        await step(part.__name__, part())

def note(event, args):
    if event == "import" and not is_known(args[0]):
        imported.append(args[0])

def is_known(name):
    # From 3.15 on the stdlib imports names lazily: the first use of one is an event
    # "module.name", also when the module is there already.
    module = sys.modules.get(name.rpartition(".")[0])
    return module is not None and not hasattr(module, "__path__")

%s
sys.addaudithook(note)
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_default_executor())
loop.guest()
loop.close()
print(*dict.fromkeys(imported))
for name, error in errors.items():
    print(name, repr(error))
"""
CHROOT = 'os.mkdir(folder + "/r"); os.chroot(folder + "/r"); os.chdir("/")'
NO_DESCRIPTORS = """
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
try:
    while True:
        os.dup(0)
except OSError:
    pass
"""


def run(code, *options):
    """A child's output, by lines."""
    folder = os.path.dirname(os.path.dirname(uring_loop.__file__))
    answer = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": folder})
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_nothing_is_imported_after_a_loop_was_made():
    imported, *errors = run(EXERCISE % "")
    assert imported == ""
    assert errors == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot()")
def test_everything_works_after_chroot_into_an_empty_directory():
    imported, *errors = run(EXERCISE % CHROOT)
    assert imported == ""
    assert errors == []


def test_without_descriptors_everything_says_so():
    """OSError where a descriptor is needed, never ImportError."""
    imported, *errors = run(EXERCISE % NO_DESCRIPTORS)
    assert imported == ""
    # "OSError": asyncio's own, of a server without a socket.
    assert any("OSError(24" in line for line in errors)
    assert [line for line in errors if "OSError" not in line] == []


def test_making_a_loop_imports_nothing_either():
    """A second loop, of a program that has locked itself in."""
    code = """
import uring_loop, sys
before = set(sys.modules)
uring_loop.new_event_loop().close()
# Cython makes modules of its own; they have no file.
print(*(name for name in set(sys.modules) - before if sys.modules[name].__spec__))
"""
    assert run(code) == [""]


def test_what_is_slow_to_import_is_not_imported():
    code = """
import asyncio, sys
before = set(sys.modules)
import uring_loop
print(*(set(sys.modules) - before))
"""
    names = set(run(code)[0].split())
    slow = {"dataclasses", "shutil", "inspect", "typing", "tempfile", "pathlib"}
    assert names & slow == set()


def test_every_public_name_is_listed_and_there():
    assert set(uring_loop.__all__) <= set(dir(uring_loop))
    missing = [n for n in uring_loop.__all__ if not hasattr(uring_loop, n)]
    assert missing == []


@pytest.mark.parametrize("name", [
    "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
    "sock_sendall", "sock_sendto", "sock_connect", "sock_accept", "getaddrinfo",
    "getnameinfo", "_sock_sendfile_native"])
def test_a_function_of_another_module_is_a_method(name):
    method = getattr(uring_loop.Loop, name)
    assert inspect.iscoroutinefunction(method)
    assert method.__name__ == name


def test_a_subclass_reaches_the_method_that_it_overrides():
    code = """
import asyncio, socket, uring_loop
class Mine(uring_loop.Loop):
    async def sock_recv(self, sock, size):
        return b"mine " + await super().sock_recv(sock, size)
async def main():
    one, other = socket.socketpair()
    one.setblocking(False)
    other.send(b"bytes")
    with one, other:
        return await asyncio.get_running_loop().sock_recv(one, 10)
print(asyncio.Runner(loop_factory=Mine).run(main()))
"""
    assert run(code, "-X", "dev") == ["b'mine bytes'"]
