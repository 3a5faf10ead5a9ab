"""getaddrinfo and getnameinfo: the C library's answers, and no thread for numbers."""

import asyncio
import socket

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from .framework import parity, promise

HOSTS = [
    "127.0.0.1", b"127.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1", "fe80::1%lo",
    "fe80::1%1", "127.1", "0x7f.1", "2130706433", None, "0.0.0.0", "::", "127.0.0.1\0",
    "", "localhost", 7, 1.5,
]
# Not numbers: a name server would be asked, and it takes its time.
NAMES = ["127.0.0.256", "1.2.3.4.5", "12ab", "::g", "fe80::1%no-such", "%lo", "1%lo",
         "127.0.0.1 ", "name.invalid"]
PORTS = [80, 0, None, "80", b"80", "http", b"http", "no-such-service", "", -1, 70000,
         "70000", 1.5]
SELECTIONS = [
    {},
    {"type": socket.SOCK_STREAM},
    {"type": socket.SOCK_DGRAM, "family": socket.AF_INET},
    {"family": socket.AF_INET6},
    {"family": socket.AF_INET, "proto": socket.IPPROTO_UDP},
    {"family": socket.AF_UNIX},
    {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_UDP},
    {"type": 77},
    {"flags": socket.AI_PASSIVE},
    {"flags": socket.AI_CANONNAME, "type": socket.SOCK_STREAM},
    {"flags": socket.AI_NUMERICSERV},
    {"flags": socket.AI_V4MAPPED | socket.AI_ALL, "family": socket.AF_INET6},
    {"flags": socket.AI_ADDRCONFIG},
    {"flags": 1 << 20},
]


@pytest.mark.parametrize("host", HOSTS, ids=repr)
@parity
async def test_hosts(loop, trace, host):
    for selection in SELECTIONS:
        await trace.wait("found", loop.getaddrinfo(host, 80, **selection))


@pytest.mark.parametrize("host", NAMES, ids=repr)
@parity
async def test_what_is_no_number(loop, trace, host):
    flags = socket.AI_NUMERICHOST
    await trace.wait("found", loop.getaddrinfo(host, 80, flags=flags))


@pytest.mark.parametrize("port", PORTS, ids=repr)
@parity
async def test_ports(loop, trace, port):
    for host in ("127.0.0.1", "::1", None):
        for selection in SELECTIONS:
            await trace.wait("found", loop.getaddrinfo(host, port, **selection))


addresses = strategies.one_of(
    strategies.ip_addresses().map(str),
    strategies.ip_addresses(v=6).map(lambda address: address.exploded),
    # Elsewhere a scope makes a name of it.
    strategies.ip_addresses(network="fe80::/10").map(lambda address: f"{address}%lo"),
)


def test_any_address_is_answered_as_the_library_does():
    import uring_loop

    @settings(max_examples=200, deadline=None,
              suppress_health_check=list(HealthCheck))
    @given(addresses, strategies.integers(0, 65535))
    def same(host, port):
        found = loop.run_until_complete(loop.getaddrinfo(host, port))
        assert found == socket.getaddrinfo(host, port)

    loop = uring_loop.new_event_loop()
    try:
        same()
    finally:
        loop.close()


NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


@parity
async def test_names_of_addresses(loop, trace):
    for address in (("127.0.0.1", 80), ("::1", 80), ("fe80::1", 80, 0, 1),
                    ("127.0.0.1", 1), ("localhost", 80), ("127.0.0.1",), "127.0.0.1",
                    ("no.such.host.invalid", 80), ("127.0.0.1", 70000)):
        for flags in (NUMERIC, socket.NI_NUMERICHOST,
                      socket.NI_NUMERICHOST | socket.NI_DGRAM, NUMERIC | 1 << 20):
            await trace.wait("name", loop.getnameinfo(address, flags))


@promise
async def test_no_thread_is_asked_for_a_number(loop, trace):
    def no_executor(*args):
        raise AssertionError("an executor was asked")

    loop.run_in_executor = no_executor
    for host in ("127.0.0.1", b"::1", "127.1", "fe80::1%lo", None):
        for port in (80, "80", "http"):
            assert await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for wrong in ("::1", "fe80::1%lo"):
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo(wrong, 80, family=socket.AF_INET)
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("127.0.0.1", "no-such-service")
    assert await loop.getnameinfo(("::1", 80), NUMERIC) == ("::1", "80")
    async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
        address, port = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(
            asyncio.Protocol, address, str(port))
        transport.close()


@promise
async def test_names_go_to_the_executor(loop, trace):
    asked = []

    async def executor(_, function, *args):
        asked.append(args[0])
        return function(*args)

    loop.run_in_executor = executor
    assert await loop.getaddrinfo("localhost", 80)
    assert await loop.getnameinfo(("127.0.0.1", 80))
    assert asked == ["localhost", ("127.0.0.1", 80)]


@parity
async def test_a_closed_loop_answers_nothing(loop, trace):
    import uring_loop

    other = type(loop)() if isinstance(loop, uring_loop.Loop) else None
    other = other or asyncio.SelectorEventLoop()
    other.close()
    await trace.wait("address", other.getaddrinfo("127.0.0.1", 80))
    await trace.wait("name", other.getnameinfo(("127.0.0.1", 80), NUMERIC))
