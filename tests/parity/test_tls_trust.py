"""Each check before OpenSSL is called directly: what breaks it leaves TLS to ssl."""

import asyncio
import gc
import os
import pathlib
import ssl
import subprocess
import sys
import textwrap
import types
import weakref

import _ssl
import pytest
import uring_loop
from uring_loop.net import libssl, tls_trust

from . import certificates
from .endpoints import PEER_SECONDS, Recorder, settle
from .framework import promise
from .tls_peer import served

PARENT = pathlib.Path(uring_loop.__file__).parent.parent

# A loop that the environment makes another is tested by the other files.
pytestmark = pytest.mark.usefixtures("unset")


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv("URING_LOOP_TLS", raising=False)
    tls_trust.verdict.cache_clear()
    yield
    monkeypatch.undo()
    tls_trust.verdict.cache_clear()


def refused(reason):
    verdict = tls_trust.examine()
    assert verdict.engine == "stdlib" and verdict.offset == -1
    assert reason in verdict.reason
    loop = uring_loop.Loop(backend="epoll")
    assert loop.tls_engine == "stdlib"
    loop.close()


def is_direct(transport):
    """Does the data of a connection pass through a BIO of ours?"""
    protocol = transport._ssl_protocol
    raw = transport.get_extra_info("ssl_object")._sslobj
    reading, writing = libssl.bios_of(
        libssl.pointer_in(raw, tls_trust.known_offset()))
    assert (reading == writing) == (
        reading != libssl.pointer_in(protocol._incoming, tls_trust.BIO_OFFSET))
    return reading == writing


# ---- the verdict


def test_the_pythons_that_are_tested_have_it():
    assert tls_trust.examine().reason == f"{ssl.OPENSSL_VERSION}, proved"
    loop = uring_loop.new_event_loop()
    assert loop.tls_engine == "openssl" and "proved" in loop.tls_engine_reason
    loop.close()


def test_it_can_be_refused_by_the_user(monkeypatch):
    with pytest.raises(ValueError, match="tls must be one of auto, stdlib, not 'own'"):
        uring_loop.Loop(tls="own")
    asked = uring_loop.Loop(tls="stdlib")
    monkeypatch.setenv("URING_LOOP_TLS", "stdlib")
    told = uring_loop.Loop()
    monkeypatch.setenv("URING_LOOP_TLS", "no")
    with pytest.raises(ValueError, match="URING_LOOP_TLS must be one of"):
        uring_loop.Loop()
    for loop in (asked, told):
        assert (loop.tls_engine, loop.tls_engine_reason) == ("stdlib", "asked for")
        loop.close()


def test_another_python(monkeypatch):
    monkeypatch.setattr(sys, "implementation", types.SimpleNamespace(name="pypy"))
    refused("pypy is not CPython")


def test_a_debug_build(monkeypatch):
    monkeypatch.setattr(sys, "gettotalrefcount", lambda: 0, raising=False)
    refused("a debug build")


def test_a_build_with_other_objects(monkeypatch):
    monkeypatch.setattr(tls_trust, "HEADER_BYTES", 32)
    refused("objects have another header")


def test_an_unknown_version(monkeypatch):
    monkeypatch.setattr(tls_trust, "SSL_LAYOUTS", {})
    refused("has not been tried")


def test_an_object_of_another_size(monkeypatch):
    monkeypatch.setattr(tls_trust, "SSL_LAYOUTS", {1: 24})
    refused(f"a _ssl._SSLSocket of {_ssl._SSLSocket.__basicsize__} bytes is not known")


def test_a_memory_bio_of_another_size(monkeypatch):
    monkeypatch.setattr(tls_trust, "BIO_OFFSET", 32)
    refused("the size of _ssl.MemoryBIO is not known")


def test_ssl_within_the_executable(monkeypatch):
    monkeypatch.delattr(_ssl, "__file__")
    refused("_ssl is built into Python")


def test_a_library_that_is_not_loaded(monkeypatch):
    monkeypatch.setattr(_ssl, "__file__", "/nowhere/_ssl.so")
    refused("not found among the libraries of _ssl: /nowhere/_ssl.so")


def test_a_library_without_the_functions(monkeypatch):
    # It is loaded, and neither it nor what it needs is OpenSSL.
    monkeypatch.setattr(_ssl, "__file__", uring_loop.scheduler.loop_core.__file__)
    refused("not found among the libraries of _ssl: OpenSSL_version")
    with pytest.raises(RuntimeError, match="not loaded"):
        libssl.version()


@pytest.mark.parametrize("name", ("LibreSSL 3.9", "BoringSSL", "AWS-LC 1.0"))
def test_another_library(monkeypatch, name):
    monkeypatch.setattr(ssl, "OPENSSL_VERSION", name)
    refused(f"{name} is not OpenSSL")


def test_an_old_library(monkeypatch):
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (1, 1, 0, 0, 0))
    refused("is older than 1.1.1")


def test_a_second_copy_of_the_library(monkeypatch):
    monkeypatch.setattr(libssl, "version", lambda: "OpenSSL 3.9.9")
    refused("another copy of OpenSSL was found: OpenSSL 3.9.9")


def test_another_kind_of_object(monkeypatch):
    monkeypatch.setattr(
        ssl.SSLContext, "wrap_bio",
        lambda *args: types.SimpleNamespace(_sslobj=object()))
    refused("ssl makes another kind of object")


# ---- wrong pointers: each is found by reading


def at_offset(monkeypatch, offset):
    layouts = {_ssl._SSLSocket.__basicsize__: offset}
    monkeypatch.setattr(tls_trust, "SSL_LAYOUTS", layouts)


def test_no_pointer(monkeypatch):
    # The weak reference to a socket, which an SSLObject does not have.
    at_offset(monkeypatch, 16)
    refused("the SSL cannot be read: Bad address")


def test_a_pointer_to_something_else(monkeypatch):
    # The context.
    at_offset(monkeypatch, 32)
    refused("the pointer is not that of an SSL")


def test_a_number_that_is_no_pointer(monkeypatch):
    # The reference count.
    at_offset(monkeypatch, 0)
    refused("the SSL cannot be read: Bad address")


@pytest.mark.parametrize("offset", (-8, 10 ** 6))
def test_a_pointer_outside_the_object(monkeypatch, offset):
    at_offset(monkeypatch, offset)
    refused("the object is too small")


def test_a_kernel_that_does_not_read(monkeypatch):
    def refuse(address, size):
        raise OSError(1, os.strerror(1))

    monkeypatch.setattr(libssl, "read_memory", refuse)
    refused("the SSL cannot be read: Operation not permitted")


EFFECTS = {
    "owner_of": (0, "the SSL has another owner"),
    "bios_of": ((0, 0), "the SSL has other BIOs"),
    "method_of": (0, "the SSL is of another library"),
    "verify_mode_of": (3, "the mode of verifying differs"),
    "pending_in_bio": (0, "the BIO does not have what ssl wrote"),
    "write_to_bio": (0, "ssl does not see what the BIO has"),
    "fail_to_read": (False, "the library has another queue of errors"),
    "has_error": (True, "ssl has another queue of errors"),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_that_is_not_seen(monkeypatch, name):
    answer, reason = EFFECTS[name]
    monkeypatch.setattr(libssl, name, lambda *args: answer)
    refused(reason)


def test_an_error_that_ssl_does_not_tell(monkeypatch):
    monkeypatch.setattr(libssl, "fail_to_read", lambda address: True)
    monkeypatch.setattr(tls_trust, "NONSENSE", b"\x16\x03\x01\x40\x00")
    monkeypatch.setattr(tls_trust, "check_effects", lambda *args: None)
    refused("ssl does not tell the error of a direct call")


# ---- connections


@promise
async def test_a_connection_is_direct(loop, trace):
    server = Recorder(trace.lane("server"))
    async with served(loop, server) as peer:
        assert is_direct(server.transport)
        await peer.send(b"data")
        await server.receives(4)


@promise
async def test_a_connection_without_trust(loop, trace, monkeypatch):
    monkeypatch.setattr(libssl, "owner_of", lambda address: 0)
    server = Recorder(trace.lane("server"))
    async with served(loop, server) as peer:
        await peer.send(b"data")
        await server.receives(4)
        server.transport.write(b"answer")
        assert await peer.read(6) == b"answer"
        assert not is_direct(server.transport)
    assert loop.tls_engine_reason == "the SSL has another owner"


@promise
async def test_a_connection_leaves_nothing(loop, trace):
    async def once():
        server = Recorder(trace.lane("server"))
        async with served(loop, server) as peer:
            await peer.send(b"data")
            await server.receives(4)
            tls = server.transport.get_extra_info("ssl_object")
            return weakref.ref(tls), weakref.ref(tls._sslobj.context)

    found, context = await once()
    await settle(loop)
    gc.collect()
    assert found() is None
    # The context is the test's own; the object that held it too long would be found.
    assert context() is certificates.server_context()


@promise
async def test_start_tls_is_direct_within_tls_as_well(loop, trace):
    async def serve(reader, writer):
        for _ in range(2):
            writer.write(await reader.readline())
            await writer.start_tls(certificates.server_context())
        directness.append(is_direct(writer.transport))
        writer.write(await reader.readline())
        writer.close()

    directness = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for line in (b"plain\n", b"in TLS\n", b"in TLS in TLS\n"):
        writer.write(line)
        assert await reader.readline() == line
        if len(directness) == 0:
            await writer.start_tls(
                certificates.client_context(), server_hostname=certificates.NAME)
    assert directness == [True] and is_direct(writer.transport)
    writer.close()
    await writer.wait_closed()
    server.close()


class Shouting(ssl.SSLObject):
    """Has its own ideas of reading and writing."""

    def read(self, *args):
        data = super().read(*args)
        return data.upper()

    def write(self, data):
        super().write(bytes(data).upper())
        return len(data)


@promise
async def test_an_sslobject_class_has_its_methods_called(loop, trace):
    context = certificates.server_context_for_clients()
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Shouting
    server = Recorder(trace.lane("server"))
    async with served(loop, server, server=context) as peer:
        assert not is_direct(server.transport)
        heard = []
        server._note_data = lambda data: heard.append(bytes(data))
        await peer.send(b"data")
        server.transport.write(b"answer")
        assert await peer.read(6) == b"ANSWER"
        while not heard:
            await asyncio.sleep(0)
        assert heard == [b"DATA"]


@promise
async def test_a_message_callback_hears_every_record(loop, trace):
    context = certificates.server_context_for_clients()
    context.verify_mode = ssl.CERT_NONE
    heard = []
    context._msg_callback = lambda *args: heard.append(args[2:])
    server = Recorder(trace.lane("server"))
    async with served(loop, server, server=context) as peer:
        assert not is_direct(server.transport)
        before = len(heard)
        await peer.send(b"data")
        await server.receives(4)
        assert len(heard) > before


def leave_an_error():
    """In OpenSSL's queue, as careless users of the library do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming = ssl.MemoryBIO()
    raw = context.wrap_bio(incoming, ssl.MemoryBIO())._sslobj
    incoming.write(tls_trust.NONSENSE)
    assert libssl.fail_to_read(libssl.pointer_in(raw, tls_trust.known_offset()))
    assert libssl.has_error()


@promise
async def test_errors_left_in_the_queue_are_not_taken_for_ours(loop, trace):
    server = Recorder(trace.lane("server"))
    async with served(loop, server) as peer:
        records = peer.records(b"data")
        for part in (records[:7], records[7:]):
            leave_an_error()
            await peer.send_raw(part)
            await settle(loop)
        await server.receives(4)
        server.transport.write(b"answer")
        assert await peer.read(6) == b"answer"


def test_after_chroot_and_without_descriptors(tmp_path):
    """The checks read no file."""
    code = """
        import os, resource, uring_loop
        loop = uring_loop.Loop(backend="epoll")
        used = set(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(used), max(used)))
        if os.getuid() == 0:
            os.mkdir("empty")
            os.chroot("empty")
        print(loop.tls_engine, loop.tls_engine_reason)
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        timeout=PEER_SECONDS, cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(PARENT)))
    assert answer.stdout.startswith("openssl"), answer.stdout + answer.stderr
