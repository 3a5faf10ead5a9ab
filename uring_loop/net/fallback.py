"""The stream transport where the ring cannot serve: asyncio's own, made safe to write
to. It is used on the selector backend, and for sockets that do more than the kernel."""

import socket
from asyncio import selector_events

# What asyncio's transports call, and a ring does itself.
METHODS = ("recv", "recv_into", "recvfrom", "send", "sendto", "sendmsg")


class SelectorStreamTransport(selector_events._SelectorSocketTransport):
    """asyncio's transport, but memory given to write() is the caller's again.

    From Python 3.12 on asyncio keeps views of what the socket did not take at once: a
    bytearray changed after write() would change what is sent.
    """

    def write(self, data):
        super().write(own(data))

    def writelines(self, list_of_data):
        super().writelines(list_of_data and [own(data) for data in list_of_data])


def does_more(sock):
    """Has a subclass of socket its own idea of receiving or sending? asyncio calls its
    methods; a ring would go past them."""
    kind = type(sock)
    return kind is not socket.socket and any(
        getattr(kind, name, None) is not getattr(socket.socket, name)
        for name in METHODS)


def own(data):
    """The same bytes in memory that nobody changes; other objects as they are."""
    if isinstance(data, bytearray):
        return bytes(data)
    if isinstance(data, memoryview) and data.c_contiguous:
        return data.tobytes()
    return data
