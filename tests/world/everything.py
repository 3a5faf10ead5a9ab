"""Source text for a child: the first use of everything that a loop offers.

`ACTIONS` maps a name to a coroutine function of the loop; each is the first of its
kind in the process and returns nothing. `attempt_all` tells how each has ended.
"""

from tests.slowness import PATIENCE_SECONDS

SOURCE = '''
import asyncio, asyncio.subprocess, errno, os, pathlib, socket, ssl, sys
import encodings.idna   # of host names: Python looks codecs up when it needs them

os.chdir({folder!r})    # for the files that it makes
OURS = {loop_name!r} != "stock"
if OURS:
    import uring_loop
    from uring_loop import Path     # with pathlib: imported when its name is used

server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain({certificate!r})
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client_context.load_verify_locations({authority!r})

async def echo(reader, writer):
    writer.write(await reader.read(100))
    writer.close()

async def exchange(reader, writer):
    writer.write(b"bytes")
    assert await reader.read(100) == b"bytes"
    writer.close()

def address_of(server):
    if not server.sockets:
        # Some versions of asyncio leave out an address that gets no descriptor.
        raise OSError(errno.EMFILE, "no descriptor for a listener")
    return server.sockets[0].getsockname()

async def tcp(loop):
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        address = address_of(server)
        await exchange(*await asyncio.open_connection(*address))

async def tls(loop):
    async with await asyncio.start_server(
            echo, "127.0.0.1", 0, ssl=server_context) as server:
        address = address_of(server)
        await exchange(*await asyncio.open_connection(
            *address, ssl=client_context, server_hostname="parity.example"))

async def start_tls(loop):
    async def upgrade(reader, writer):
        await writer.start_tls(server_context)
        await echo(reader, writer)
    async with await asyncio.start_server(upgrade, "127.0.0.1", 0) as server:
        address = address_of(server)
        reader, writer = await asyncio.open_connection(*address)
        await writer.start_tls(client_context, server_hostname="parity.example")
        await exchange(reader, writer)

async def unix(loop):
    async with await asyncio.start_unix_server(echo, "socket") as server:
        await exchange(*await asyncio.open_unix_connection("socket"))

async def udp(loop):
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            came.set_result(data)
    came = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    try:
        transport.sendto(b"datagram", transport.get_extra_info("sockname"))
        assert await came == b"datagram"
    finally:
        transport.close()

async def pipes(loop):
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), open(read_end, "rb", 0))
    writing, _ = await loop.connect_write_pipe(
        asyncio.Protocol, open(write_end, "wb", 0))
    writing.write(b"bytes")
    assert await reader.readexactly(5) == b"bytes"
    writing.close()
    transport.close()

async def sockets(loop):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
        await asyncio.sleep(0)
        await loop.sock_sendall(far, b"bytes")
        assert await waiting == b"bytes"

async def sock_connect(loop):
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        client.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await loop.sock_connect(client, listener.getsockname())
        (await accepting)[0].close()

async def reader(loop):
    near, far = socket.socketpair()
    with near, far:
        seen = asyncio.Event()
        loop.add_reader(near, seen.set)
        far.send(b"x")
        await seen.wait()
        loop.remove_reader(near)

async def subprocess(loop):
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate(b"bytes"))[0] == b"bytes"

async def numeric_address(loop):
    await loop.getaddrinfo("127.0.0.1", 80)
    await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)

async def named_address(loop):
    await loop.getaddrinfo("localhost", 80)

async def thread(loop):
    assert await asyncio.to_thread(int, "1") == 1

async def file(loop):
    async with uring_loop.open("file", "w") as writing:
        await writing.write("text")
    async with uring_loop.open("file", "rb") as reading:
        assert await reading.read() == b"text"

async def paths(loop):
    await uring_loop.fs.stat(".")
    await Path("file2").write_text("text")
    assert await Path("file2").read_text() == "text"

async def sendfile(loop):
    with open("sent", "w+b") as sent:
        sent.write(b"bytes")
        sent.flush()
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            assert await loop.sock_sendfile(near, sent, 0, 5) == 5

async def signals(loop):
    import signal
    seen = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await seen.wait()
    loop.remove_signal_handler(signal.SIGUSR1)

async def iothread(loop):
    with uring_loop.IOThread("beside") as beside:
        beside.run(asyncio.sleep(0)).result(10)

async def statistics(loop):
    loop.statistics()
    repr(loop)

ACTIONS = [tcp, tls, start_tls, unix, udp, pipes, sockets, sock_connect, reader,
           subprocess, numeric_address, named_address, thread, sendfile, signals]
if OURS:
    ACTIONS += [file, paths, iothread, statistics]

async def attempt(loop, action, seconds):
    """How it ended: "ok", or the exceptions along its chain."""
    try:
        await asyncio.wait_for(action(loop), seconds)
    except BaseException as error:
        chain = []
        while error is not None:
            chain.append(type(error).__name__)
            number = getattr(error, "errno", None)
            if isinstance(error, OSError) and number in errno.errorcode:
                chain[-1] = errno.errorcode[number]
            error = error.__cause__ or error.__context__
        return "<-".join(chain)
    return "ok"

async def attempt_all(loop, seconds={patience}):
    return [(action.__name__, await attempt(loop, action, seconds))
            for action in ACTIONS]

def tell(results):
    for name, result in results:
        print(name + "=" + result, flush=True)
'''


# What asyncio does in its thread pool.
IN_A_THREAD = ("numeric_address", "named_address", "thread")


def source(loop_name, folder):
    """The text for one loop, with certificates in files of the folder."""
    from ..parity import certificates

    certificate, authority = folder / "certificate.pem", folder / "authority.pem"
    issued = certificates.authority().issue_cert(certificates.NAME)
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    certificates.authority().cert_pem.write_to_path(str(authority))
    return SOURCE.format(loop_name=loop_name, folder=str(folder),
                         certificate=str(certificate), authority=str(authority),
                         patience=PATIENCE_SECONDS)


def results(words):
    """{action: how it ended} of what a child told."""
    return dict(word.split("=", 1) for word in words if "=" in word)
