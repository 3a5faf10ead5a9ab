"""The resolver: getaddrinfo() and getnameinfo() of numeric hosts without a thread.

A lookup may wait for a name server, so asyncio runs all lookups in its executor. For a
numeric host the C library answers without a query. Whether a host is numeric is decided
by the C library itself (AI_NUMERICHOST), so the answer is that of a lookup.
"""

import encodings.idna  # noqa: F401 (socket and ssl would import it with the first host)
import socket
from asyncio import base_events

DIGITS = tuple("0123456789")


async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
    if may_be_numeric(host):
        self._check_closed()
        # asyncio's own tests replace this module.
        ask = base_events.socket.getaddrinfo
        if self.get_debug():
            ask = self._getaddrinfo_debug
        try:
            return ask(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        except socket.gaierror as exc:
            if exc.errno != socket.EAI_NONAME:
                raise
    return await base_events.BaseEventLoop.getaddrinfo(
        self, host, port, family=family, type=type, proto=proto, flags=flags)


async def getnameinfo(self, sockaddr, flags=0):
    if flags & socket.NI_NUMERICHOST:
        self._check_closed()
        return socket.getnameinfo(sockaddr, flags)
    return await base_events.BaseEventLoop.getnameinfo(self, sockaddr, flags)


def may_be_numeric(host):
    """Numeric hosts begin with a digit or, as IPv6 addresses, contain a colon."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    return host is None or (
        isinstance(host, str) and (host.startswith(DIGITS) or ":" in host))
