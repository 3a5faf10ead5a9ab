"""Against programs that speak HTTPS: curl as the client, nginx as the server."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl

import pytest
import trustme

from . import certificates
from .endpoints import pattern
from .engines import tls_engine  # noqa: F401 (all tests run with both engines)
from .framework import promise
from .tls_peer import of_version

SIZE = 3_000_000
LIMIT = 1 << 16
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT = "client.example"

both_versions = pytest.mark.parametrize("version", VERSIONS)
both_keys = pytest.mark.parametrize("key_type", ("RSA", "ECDSA"))
with_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="there is no curl command")
with_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="there is no nginx command")


@pytest.fixture
def issued(tmp_path, key_type):
    """PEM files: the authority, and key and chain of both ends in one each."""
    files = {"root": tmp_path / "root.pem"}
    files["root"].write_bytes(certificates.authority().cert_pem.bytes())
    for name in (certificates.NAME, CLIENT):
        leaf = certificates.authority().issue_cert(
            name, key_type=trustme.KeyType[key_type])
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    return files


def context(end, version, files, own=None):
    made = ssl.SSLContext(end)
    made.load_verify_locations(files["root"])
    if own is not None:
        made.load_cert_chain(files[own])
    return of_version(made, VERSIONS[version])


async def started(*command, **options):
    # What a sanitizer's build preloads is not for other programs.
    environment = {name: value for name, value in os.environ.items()
                   if name != "LD_PRELOAD"}
    return await asyncio.create_subprocess_exec(
        *map(str, command), env=environment, **options)


async def run(*command):
    process = await started(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    printed, _ = await process.communicate()
    return process.returncode, printed


async def head_of(reader):
    """The lines of a request or an answer up to the empty one, and its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head, length


async def echo_request(reader, writer):
    head, length = await head_of(reader)
    if b"100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(length)
    subject = writer.get_extra_info("peercert")
    assert str(CLIENT) in str(subject)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
    writer.write(body)
    await writer.drain()
    writer.close()


@with_curl
@both_keys
@both_versions
@promise
async def test_curl_sends_and_gets_back(loop, trace, version, issued, tmp_path):
    server_side = context(
        ssl.PROTOCOL_TLS_SERVER, version, issued, certificates.NAME)
    server_side.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(
        echo_request, "127.0.0.1", 0, ssl=server_side, limit=LIMIT)
    port = server.sockets[0].getsockname()[1]
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(pattern(SIZE))
    status, printed = await run(
        "curl", "-sS", "--http1.1", f"--tlsv{version}", "--tls-max", version,
        "--cacert", issued["root"], "--cert", issued[CLIENT], "--resolve",
        f"{certificates.NAME}:{port}:127.0.0.1", "--data-binary", f"@{sent}", "-o",
        got, f"https://{certificates.NAME}:{port}/")
    assert status == 0, printed
    assert got.read_bytes() == pattern(SIZE)
    server.close()


NGINX = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {chain};
        ssl_certificate_key {chain};
        ssl_protocols TLSv{version};
        ssl_client_certificate {root};
        ssl_verify_client on;
        ssl_buffer_size {record};
        root {folder}/files;
    }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder, version, files, record):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "files").mkdir()
    (folder / "files" / "much").write_bytes(pattern(SIZE))
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(
        folder=folder, port=port, version=version, record=record,
        chain=files[certificates.NAME], root=files["root"]))
    process = await started("nginx", "-c", configuration, "-p", folder,
                            stderr=asyncio.subprocess.DEVNULL)
    try:
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()


async def connected(port, tls):
    """nginx says nothing when it begins to listen."""
    while True:
        try:
            return await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls, server_hostname=certificates.NAME,
                limit=LIMIT)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("record", (1, 1000, 16384))
@with_nginx
@both_keys
@both_versions
@promise
async def test_nginx_sends_a_file(loop, trace, version, issued, tmp_path, record):
    tls = context(ssl.PROTOCOL_TLS_CLIENT, version, issued, CLIENT)
    last = 20_000 if record == 1 else SIZE
    async with nginx(tmp_path, version, issued, record) as port:
        reader, writer = await connected(port, tls)
        # One connection for several requests.
        for _ in range(3):
            writer.write(b"GET /much HTTP/1.1\r\nHost: here\r\n"
                         b"Range: bytes=0-%d\r\n\r\n" % (last - 1))
            head, length = await head_of(reader)
            assert b" 206 " in head and length == last
            assert await reader.readexactly(length) == pattern(SIZE)[:last]
        writer.close()
        await writer.wait_closed()
