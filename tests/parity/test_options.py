"""Each option of the loop's connecting and serving methods, by what it does."""

import asyncio
import contextlib
import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from . import certificates
from .datagram_rigs import DatagramRecorder
from .endpoints import (
    PEER_SECONDS, Recorder, closed, connected_sockets, connecting, ended, serving)
from .endpoints import settle
from .framework import parity

since_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="came with 3.13")

LOCAL = ("127.0.0.1", 0)


def option(sock, level, *names):
    return [sock.getsockopt(level, getattr(socket, name)) for name in names]


# ---- create_server ----------------------------------------------------------------


@since_3_13
@parity
async def test_keep_alive_is_set_on_the_listener_and_inherited(loop, trace):
    for wanted in (None, False, True):
        served = Recorder(trace.lane(f"server {wanted}"))
        async with serving(loop, "tcp", lambda: served, keep_alive=wanted) as address:
            with socket.create_connection(address):
                await served.happens("connection_made")
                sock = served.transport.get_extra_info("socket")
                trace(wanted, option(sock, socket.SOL_SOCKET, "SO_KEEPALIVE"))
            await served.happens("connection_lost")


@parity
async def test_two_servers_share_a_port(loop, trace):
    first = await loop.create_server(asyncio.Protocol, *LOCAL, reuse_port=True)
    address = first.sockets[0].getsockname()
    second = await loop.create_server(asyncio.Protocol, *address, reuse_port=True)
    trace("shared", second.sockets[0].getsockname() == address)
    refused = loop.create_server(asyncio.Protocol, *address)
    try:
        await refused
    except OSError as exc:
        trace("without it", type(exc), exc.errno)
    await closed(first)
    await closed(second)


@parity
async def test_the_address_of_a_dead_connection_is_used_again(loop, trace):
    for reuse in (None, True, False):
        served = Recorder(trace.lane("server"))
        server = await loop.create_server(lambda: served, *LOCAL)
        address = server.sockets[0].getsockname()
        client = socket.create_connection(address)
        await served.happens("connection_made")
        served.transport.close()  # who closes first keeps the address for a while
        await served.happens("connection_lost")
        client.close()
        await closed(server)
        try:
            again = await loop.create_server(
                asyncio.Protocol, *address, reuse_address=reuse)
        except OSError as exc:
            trace(reuse, exc.errno)
        else:
            trace(reuse, "serves")
            await closed(again)


@parity
async def test_family_and_flags_choose_the_addresses(loop, trace):
    def families(server):
        return sorted({int(sock.family) for sock in server.sockets})

    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC):
        server = await loop.create_server(
            asyncio.Protocol, None, 0, family=family, flags=socket.AI_PASSIVE)
        trace(int(family), families(server))
        await closed(server)
    server = await loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, flags=socket.AI_NUMERICHOST)
    trace("numeric", server.sockets[0].getsockname()[0])
    await closed(server)
    named = loop.create_server(
        asyncio.Protocol, "localhost", 0, flags=socket.AI_NUMERICHOST)
    try:
        await named
    except socket.gaierror as exc:
        trace("a name", exc.errno == socket.EAI_NONAME)


@parity
async def test_the_backlog_is_what_may_wait(loop, trace):
    """Nobody accepts between these attempts: the loop does not run."""
    async with serving(loop, "unix", asyncio.Protocol, backlog=1) as address:
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                trace("connect", sock.connect_ex(address))
            await settle(loop)


@parity
async def test_a_unix_server_that_starts_later(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "socket")
        served = Recorder(trace.lane("server"))
        server = await loop.create_unix_server(
            lambda: served, path, start_serving=False, backlog=5)
        trace("serving", server.is_serving())
        await trace.wait("connect", loop.create_unix_connection(asyncio.Protocol, path))
        await server.start_serving()
        client = Recorder(trace.lane("client"))
        transport, _ = await loop.create_unix_connection(lambda: client, path)
        await served.happens("connection_made")
        await ended(client, served)
        await closed(server)


@parity
async def test_every_way_to_write_a_path(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        for kind in (str, os.fsencode, pathlib.Path):
            path = kind(os.path.join(folder, "socket"))
            server = await loop.create_unix_server(asyncio.Protocol, path)
            client = Recorder(trace.lane("client"))
            await loop.create_unix_connection(lambda: client, path)
            await ended(client)
            await closed(server)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # which the server does from Python 3.13 on


@parity
async def test_an_inherited_unix_listener_serves(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as first:
            first.bind(path)
            first.listen()
            inherited = socket.socket(fileno=os.dup(first.fileno()))
        served = Recorder(trace.lane("server"))
        server = await loop.create_unix_server(lambda: served, sock=inherited)
        client = Recorder(trace.lane("client"))
        await loop.create_unix_connection(lambda: client, path)
        await served.happens("connection_made")
        await ended(client, served)
        await closed(server)
        trace("path left", os.path.exists(path))


@since_3_13
@parity
async def test_a_path_that_is_no_longer_ours_is_left(loop, trace):
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = os.path.join(folder, "socket")
        server = await loop.create_unix_server(asyncio.Protocol, path)
        os.unlink(path)
        with open(path, "w", encoding="utf-8"):
            pass
        await closed(server)
        trace("left", os.path.exists(path))
        os.unlink(path)
        server = await loop.create_unix_server(asyncio.Protocol, path)
        os.unlink(path)
        await closed(server)
        trace("gone", os.path.exists(path))


# ---- create_connection ------------------------------------------------------------


@parity
async def test_family_proto_and_flags_reach_the_resolver(loop, trace):
    async def resolve(host, port, **options):
        trace("asked", host, port, options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

    async with serving(loop, "tcp", asyncio.Protocol) as address:
        loop.getaddrinfo = resolve
        client = Recorder(trace.lane("client"))
        await loop.create_connection(
            lambda: client, "name", 7, family=socket.AF_INET,
            proto=socket.IPPROTO_TCP, flags=socket.AI_ADDRCONFIG)
        await ended(client)


@parity
async def test_interleave_mixes_the_families(loop, trace):
    async def resolve(host, port, **options):
        six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"::{n}", 1, 0, 0))
               for n in (2, 3)]
        four = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 1))
                for n in (2, 3)]
        return six + four

    async def refuse(sock, address):
        trace("tried", address[0])
        raise OSError(111, "refused")

    loop.getaddrinfo, loop.sock_connect = resolve, refuse
    for delay, interleave in ((None, None), (None, 1), (10, 2)):
        trace("options", delay, interleave)
        made = loop.create_connection(asyncio.Protocol, "name", 1,
                                      interleave=interleave,
                                      happy_eyeballs_delay=delay)
        await trace.wait("connect", made)


@parity
async def test_a_slow_address_is_overtaken(loop, trace):
    async with serving(loop, "tcp", asyncio.Protocol) as address:
        async def resolve(*args, **options):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.9", 1)),
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        async def connect(sock, where):
            if where != address:
                try:
                    await loop.create_future()  # for ever
                finally:
                    trace("the slow one ends")
            await connected(sock, where)

        connected = loop.sock_connect
        loop.getaddrinfo, loop.sock_connect = resolve, connect
        client = Recorder(trace.lane("client"))
        await loop.create_connection(lambda: client, "name", 1,
                                     happy_eyeballs_delay=0.01)
        await ended(client)


@pytest.mark.parametrize("family", ["tcp", "unix"])
@parity
async def test_the_name_of_the_server_is_checked(loop, trace, family):
    context = certificates.server_context()
    async with serving(loop, family, asyncio.Protocol, ssl=context) as address:
        for name in (certificates.NAME, "other.example"):
            client = Recorder(trace.lane(name))
            made = connecting(loop, family, lambda: client, address,
                              ssl=certificates.client_context(), server_hostname=name,
                              ssl_handshake_timeout=PEER_SECONDS,
                              ssl_shutdown_timeout=PEER_SECONDS)
            try:
                await made
            except OSError as exc:
                trace(name, type(exc))
            else:
                trace(name, "trusted")
                await ended(client)


# ---- create_datagram_endpoint -----------------------------------------------------


@parity
async def test_broadcasts_need_permission(loop, trace):
    with socket.socket(type=socket.SOCK_DGRAM) as far:
        far.bind(("", 0))
        far.settimeout(PEER_SECONDS)
        everybody = ("127.255.255.255", far.getsockname()[1])
        for allowed in (None, True):
            near = DatagramRecorder(trace.lane(f"allowed {allowed}"))
            await loop.create_datagram_endpoint(
                lambda: near, local_addr=LOCAL, allow_broadcast=allowed)
            near.transport.sendto(b"to everybody", everybody)
            if allowed:
                trace("far got", far.recv(100))
            await ended(near)


@parity
async def test_two_endpoints_share_a_port(loop, trace):
    ends = [DatagramRecorder(trace.lane(name)) for name in ("first", "second")]
    address = LOCAL
    for near in ends:
        await loop.create_datagram_endpoint(
            lambda: near, local_addr=address, reuse_port=True)
        address = near.transport.get_extra_info("sockname")
    trace("shared", len({n.transport.get_extra_info("sockname") for n in ends}))
    try:
        await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=address)
    except OSError as exc:
        trace("without it", type(exc), exc.errno)
    await ended(*ends)


@parity
async def test_family_proto_and_flags_of_datagrams(loop, trace):
    near = DatagramRecorder(trace.lane("family alone"))
    await loop.create_datagram_endpoint(lambda: near, family=socket.AF_INET)
    trace("sockname", near.transport.get_extra_info("sockname")[0])
    await ended(near)
    near = DatagramRecorder(trace.lane("all"))
    await loop.create_datagram_endpoint(
        lambda: near, ("127.0.0.1", 0), family=socket.AF_INET,
        proto=socket.IPPROTO_UDP, flags=socket.AI_NUMERICHOST)
    trace("proto", near.transport.get_extra_info("socket").proto)
    await ended(near)
    named = loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, ("localhost", 0), flags=socket.AI_NUMERICHOST)
    try:
        await named
    except socket.gaierror as exc:
        trace("a name", exc.errno == socket.EAI_NONAME)


@parity
async def test_a_given_datagram_socket_is_used(loop, trace):
    for kind in (socket.AF_INET, socket.AF_UNIX):
        near = DatagramRecorder(trace.lane(f"near {int(kind)}"))
        if kind == socket.AF_UNIX:
            sock, far = socket.socketpair(kind, socket.SOCK_DGRAM)
        else:
            sock, far = socket.socket(type=socket.SOCK_DGRAM), socket.socket(
                type=socket.SOCK_DGRAM)
            sock.bind(LOCAL)
            far.connect(sock.getsockname())
        with far:
            await loop.create_datagram_endpoint(lambda: near, sock=sock)
            trace("timeout", sock.gettimeout())
            far.send(b"hello")
            await near.receives_datagrams(1)
            await ended(near)


@parity
async def test_a_scope_id_is_kept(loop, trace):
    near = DatagramRecorder(trace.lane("near"))
    await loop.create_datagram_endpoint(lambda: near, local_addr=("::1", 0))
    port = near.transport.get_extra_info("sockname")[1]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as far:
        far.bind(("::1", 0))
        far.settimeout(PEER_SECONDS)
        near.transport.sendto(b"scoped", ("::1", far.getsockname()[1], 0, 1))
        data, sender = far.recvfrom(100)
        trace("far got", data, sender == ("::1", port, 0, 0))
    await ended(near)


# ---- subprocesses -----------------------------------------------------------------

# By the shell itself: ps(1) hangs with AddressSanitizer.
READ_STAT = "read -r pid name state parent group session rest </proc/$$/stat"
SHOW = {
    "cwd": ("pwd", {"cwd": "/usr"}),
    "env": ("echo $PARITY", {"env": {"PARITY": "set"}}),
    "umask": ("umask", {"umask": 0o27}),
    "start_new_session": (f"{READ_STAT}; test $session = $$ && echo leads",
                          {"start_new_session": True}),
    "process_group": (f"{READ_STAT}; test $group = $$ && echo leads",
                      {"process_group": 0}),
    "preexec_fn": ("umask", {"preexec_fn": functools.partial(os.umask, 0o31)}),
    "restore_signals": ("grep SigIgn /proc/self/status", {"restore_signals": True}),
    "executable": ("echo $0", {"executable": "/bin/sh"}),
    "pipesize": ("echo sized", {"pipesize": 1 << 16}),
    "user": ("id -u", {"user": os.getuid()}),
    "group": ("id -g", {"group": os.getgid()}),
    "extra_groups": ("id -G", {"extra_groups": [os.getgid()]}),
    "close_fds": ("echo closed", {"close_fds": True}),
}


@pytest.mark.parametrize("name", SHOW)
@parity
async def test_an_option_reaches_the_child(loop, trace, name):
    command, options = SHOW[name]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    made = asyncio.create_subprocess_exec("/bin/sh", "-c", command, **pipes, **options)
    if (child := await trace.wait("exec", made)) is None:
        return  # not everybody may choose groups
    trace("exec", *await child.communicate(), child.returncode)
    if name != "executable":
        child = await asyncio.create_subprocess_shell(command, **pipes, **options)
        trace("shell", *await child.communicate(), child.returncode)


@parity
async def test_descriptors_are_passed_and_pipes_may_be_anything(loop, trace):
    near, far = connected_sockets("unix")
    write = f"os.write({far.fileno()}, b'to the socket')"
    code = f"import os; {write}; print('to the file')"
    near.settimeout(PEER_SECONDS)
    with near, far, tempfile.TemporaryFile() as file:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", code, pass_fds=[far.fileno()],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        trace("code", await child.wait())
        file.seek(0)
        trace("file", file.read(), near.recv(100))


@parity
async def test_what_a_shell_takes_and_refuses(loop, trace):
    """The rest is asked of subprocess_exec above."""
    made = loop.subprocess_shell
    for option, value in {"universal_newlines": True, "bufsize": 1, "encoding": "utf-8",
                          "errors": "strict", "text": True, "shell": False}.items():
        refused = made(asyncio.SubprocessProtocol, "x", **{option: value})
        await trace.wait(option, refused)
    near, far = connected_sockets("unix")
    near.settimeout(PEER_SECONDS)
    with near, far:
        child = await asyncio.create_subprocess_shell(
            f"echo $0 >/proc/self/fd/1; exec {sys.executable} -I -S -c "
            f"'import os; os.write({far.fileno()}, b\"passed on\")'",
            executable="/bin/bash", pass_fds=[far.fileno()], stdout=subprocess.PIPE)
        trace("said", *await child.communicate(), child.returncode, near.recv(100))


@parity
async def test_signals_of_a_process_transport(loop, trace):
    user = ("send_signal", (signal.SIGUSR1,))   # nohup ignores SIGHUP
    for name, args in (("terminate", ()), ("kill", ()), user):
        over = loop.create_future()

        class Protocol(asyncio.SubprocessProtocol):
            def process_exited(self):
                over.set_result(None)

        transport, protocol = await loop.subprocess_shell(
            Protocol, "exec sleep 1000", stdin=None, stdout=None, stderr=None)
        trace("protocol", transport.get_protocol() is protocol)
        trace("pipes", [transport.get_pipe_transport(fd) for fd in (0, 1, 2)])
        trace("info", transport.get_extra_info("subprocess").pid == transport.get_pid())
        trace("default", transport.get_extra_info("unknown", "a default"))
        transport.set_protocol(protocol)
        trace.call(name, getattr(transport, name), *args)
        await over
        trace("code", transport.get_returncode(), transport.is_closing())
        transport.close()
        trace("closing", transport.is_closing())
        await settle(loop)
