"""Names and addresses of hosts: what is numeric needs no thread.

A lookup may wait for a name server, so asyncio gives all of them to its executor. The C
library answers for a numeric host without asking anybody. Which hosts those are, it
knows best: it is asked with AI_NUMERICHOST, and its answer is the one of a lookup.
"""

import encodings.idna  # noqa: F401 (socket and ssl would import it with the first host)
import socket
from asyncio import base_events

DIGITS = tuple("0123456789")


async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
    if may_be_numeric(host):
        self._check_closed()
        # Where asyncio's own tests put another module.
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
    """Every number begins with a digit, but for those of IPv6 with their colons."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    return host is None or (
        isinstance(host, str) and (host.startswith(DIGITS) or ":" in host))
