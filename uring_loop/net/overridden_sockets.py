"""Stream transport for sockets whose class overrides recv(), send() or a similar
method.

asyncio calls those methods; our own transport would bypass them with system calls. So
such a socket gets asyncio's own transport, on the loop's watches.
"""

import socket
from asyncio import selector_events

# asyncio's transports call these methods; ours make the system calls themselves.
METHODS = ("recv", "recv_into", "recvfrom", "send", "sendto", "sendmsg")


class OverriddenSocketTransport(selector_events._SelectorSocketTransport):
    """asyncio's transport, but write() copies mutable buffers.

    From Python 3.12 on asyncio keeps views of the data that the socket did not accept
    at once: a bytearray changed after write() would change the data that is sent.
    """

    def write(self, data):
        super().write(own(data))

    def writelines(self, list_of_data):
        super().writelines(list_of_data and [own(data) for data in list_of_data])


def overrides_io(sock):
    """Does the socket's class override a method for receiving or sending?"""
    kind = type(sock)
    return kind is not socket.socket and any(
        getattr(kind, name, None) is not getattr(socket.socket, name)
        for name in METHODS)


def own(data):
    """The same bytes in immutable memory; other objects unchanged."""
    if isinstance(data, bytearray):
        return bytes(data)
    if isinstance(data, memoryview) and data.c_contiguous:
        return data.tobytes()
    return data
