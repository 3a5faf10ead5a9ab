"""Against the openssl command: key updates, renegotiation, client certificates."""

import asyncio
import contextlib
import shutil
import ssl

import pytest

from . import certificates
from .endpoints import PEER_SECONDS
from .engines import tls_engine  # noqa: F401 (all tests run with both engines)
from .framework import promise

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl command")

VERSIONS = {"-tls1_2": ssl.TLSVersion.TLSv1_2, "-tls1_3": ssl.TLSVersion.TLSv1_3}
both_versions = pytest.mark.parametrize("version", VERSIONS)
MUCH = 300_000


class Openssl:
    """The command as a child; what it prints is kept."""

    def __init__(self, process):
        self.process = process
        self.printed = b""

    async def says(self, text):
        while text not in self.printed:
            chunk = await self.process.stdout.read(65536)
            assert chunk, self.printed
            self.printed += chunk

    async def line(self, line):
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def command(self, letter, answer, nudge=lambda: None):
        """A line that the command obeys, if it is all that it reads at once.

        `nudge` makes it print data, and with that what it has buffered.
        """
        self.printed = b""
        await self.line(letter)
        while answer not in self.printed:
            nudge()
            self.printed += await self.process.stdout.read(65536)


@contextlib.asynccontextmanager
async def openssl(*arguments):
    process = await asyncio.create_subprocess_exec(
        "openssl", *map(str, arguments), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        yield Openssl(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@contextlib.asynccontextmanager
async def echo_server(loop, context):
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def files(tmp_path):
    """PEM files of an authority, and of a certificate for both ends."""
    leaf = certificates.authority().issue_cert(certificates.NAME)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    root = tmp_path / "root.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    root.write_bytes(certificates.authority().cert_pem.bytes())
    return {"chain": chain, "key": key, "root": root}


@both_versions
@promise
async def test_s_client_with_a_certificate(loop, trace, version, files):
    context = certificates.server_context_for_clients()
    async with echo_server(loop, context) as port, openssl(
            "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile",
            files["root"], "-cert", files["chain"], "-key", files["key"]) as client:
        await client.says(b"Verify return code: 0 (ok)")
        # "K" asks for new keys both ways.
        for number in range(3):
            await client.line(b"before %d" % number)
            await client.says(b"before %d\n" % number)
            if version == "-tls1_3":
                await client.command(b"K", b"KEYUPDATE\n")
            await client.line(b"after %d" % number)
            await client.says(b"after %d\n" % number)
        long = b"x" * MUCH
        await client.line(long)
        await client.says(long)


@both_versions
@promise
async def test_s_server_that_asks_anew(loop, trace, version, files):
    """New keys by TLS 1.3, another handshake by TLS 1.2, while data goes both ways."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates.authority().configure_trust(context)
    async with openssl("s_server", "-accept", "127.0.0.1:0", version, "-cert",
                       files["chain"], "-key", files["key"]) as server:
        await server.says(b"ACCEPT 127.0.0.1:")
        await server.says(b"\n")
        port = int(server.printed.split(b"ACCEPT 127.0.0.1:")[1].split()[0])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=certificates.NAME)
        for number in range(3):
            writer.write(b"to the server %d\n" % number)
            await server.says(b"to the server %d\n" % number)
            await server.command(
                b"K" if version == "-tls1_3" else b"r", b"SSL_do_handshake -> 1\n",
                lambda: writer.write(b"tick\n"))
            writer.write(b"and on %d\n" % number)
            await server.says(b"and on %d\n" % number)
            await server.line(b"to the client %d" % number)
            await asyncio.wait_for(
                reader.readuntil(b"to the client %d\n" % number), PEER_SECONDS)
        writer.write(b"y" * MUCH + b"end\n")
        await server.says(b"end\n")
        assert server.printed.count(b"y") >= MUCH
        writer.close()
        await writer.wait_closed()


@both_versions
@promise
async def test_a_session_is_resumed(loop, trace, version, files, tmp_path):
    session = tmp_path / "session"
    async with echo_server(loop, certificates.server_context()) as port:
        for option, said in (("-sess_out", b"New, "), ("-sess_in", b"Reused, ")):
            async with openssl(
                    "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile",
                    files["root"], option, session) as client:
                await client.says(said)
                # A ticket of TLS 1.3 comes with the first data.
                await client.line(b"data")
                await client.says(b"\ndata\n" if version == "-tls1_2" else b"data\n")
                await client.line(b"Q")
                await client.process.wait()
