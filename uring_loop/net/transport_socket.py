"""TransportSocket, the object of get_extra_info("socket"), which flushes held writes.

A program that uses the descriptor itself (os.sendfile(), another process) expects that
everything it has written is in the kernel. So each method that exposes the descriptor
first sends the writes that the transport holds. From then on that transport holds no
writes, since the program may have kept the descriptor.
"""

import weakref
from asyncio import trsock


class TransportSocket(trsock.TransportSocket):
    """asyncio's TransportSocket, for one of our transports."""

    __slots__ = ("_transport",)

    def __init__(self, sock, transport):
        super().__init__(sock)
        # Weak: the transport refers to this object, and a cycle would keep both until
        # the collector runs.
        self._transport = weakref.ref(transport)

    def _expose(self):
        transport = self._transport()
        if transport is not None:
            transport._expose()

    @property
    def _sock(self):
        self._expose()
        return SOCK.__get__(self)

    @_sock.setter
    def _sock(self, sock):
        SOCK.__set__(self, sock)

    # These do not expose the descriptor; asyncio's other methods use `_sock`.

    @property
    def family(self):
        return SOCK.__get__(self).family

    @property
    def type(self):
        return SOCK.__get__(self).type

    @property
    def proto(self):
        return SOCK.__get__(self).proto

    def get_inheritable(self):
        return SOCK.__get__(self).get_inheritable()

    def getpeername(self):
        return SOCK.__get__(self).getpeername()

    def getsockname(self):
        return SOCK.__get__(self).getsockname()

    # These take effect after the data that has been written.

    def _written(self):
        transport = self._transport()
        if transport is not None:
            transport._flush_held()
        return SOCK.__get__(self)

    def getsockopt(self, *args, **kwargs):
        return self._written().getsockopt(*args, **kwargs)

    def setsockopt(self, *args, **kwargs):
        self._written().setsockopt(*args, **kwargs)

    def shutdown(self, how):
        self._written().shutdown(how)


SOCK = trsock.TransportSocket.__dict__["_sock"]
